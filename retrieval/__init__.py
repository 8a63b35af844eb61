"""Documents in, passages out: read, audit, chunk, embed, index; and search what was published."""
