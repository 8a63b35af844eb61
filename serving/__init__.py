"""What is shipped and how it answers: release, Bento, service, chat page. Uses the assistant; nothing below uses it."""
