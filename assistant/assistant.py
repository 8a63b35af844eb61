"""One question in, one answer out: guard, retrieve, prompt, generate, cite."""

import re
import time
from collections.abc import Generator, Sequence
from contextlib import closing

from assistant.engine import Engine, Generation
from contracts.answers import Answer, Citation, Route, Timings
from contracts.errors import DataError
from contracts.pairs import Passage
from contracts.params import Assistant as Settings
from contracts.prompts import conversation
from contracts.release import Example
from retrieval.search import Hit, Retriever

_MARK = re.compile(r"\[(\d+)\]")


class Assistant:
    """The hybrid, or one of its halves.

    Without a `retriever` nothing is looked up; `examples` are shown to a model that is not tuned. `route` names which of the four
    arms this is and stands in every answer.
    """

    def __init__(
        self,
        engine: Engine,
        retriever: Retriever | None,
        settings: Settings,
        *,
        route: Route,
        examples: Sequence[Example] = (),
        top_k: int = 3,
        release: str = "",
    ) -> None:
        self.engine = engine
        self.retriever = retriever
        self.settings = settings
        self.route: Route = route
        self.examples = [(e.question, e.passages, e.answer) for e in examples]
        self.top_k = top_k
        self.release = release

    def answer(self, question: str) -> Answer:
        """Answer one question.

        Raises:
            DataError: the question is empty or longer than assistant.max_question_characters.
        """
        return self.answer_many([question])[0]

    def answer_many(self, questions: Sequence[str], batch_size: int = 8) -> list[Answer]:
        """Answer several questions in batches; timings are each question's share of its batch."""
        answers: list[Answer] = []
        for start in range(0, len(questions), batch_size):
            batch = [self._checked(question) for question in questions[start : start + batch_size]]
            began = time.perf_counter()
            hits = self._retrieve(batch)
            retrieved = time.perf_counter()
            conversations = [self._prompt(question, found) for question, found in zip(batch, hits, strict=True)]
            generations = self.engine.generate(conversations, self.settings)
            ended = time.perf_counter()
            share = 1000 / len(batch)
            timings = Timings(
                retrieve=(retrieved - began) * share,
                generate=(ended - retrieved) * share,
                total=(ended - began) * share,
            )
            answers += [self._finish(g, found, timings) for g, found in zip(generations, hits, strict=True)]
        return answers

    def stream(self, question: str) -> Generator[str | Answer, None, None]:
        """Yield pieces of text as they come, then the finished Answer. Raises as `answer` does, before the first piece."""
        question = self._checked(question)
        began = time.perf_counter()
        hits = self._retrieve([question])[0]
        retrieved = time.perf_counter()
        with closing(self.engine.stream(self._prompt(question, hits), self.settings)) as pieces:
            for piece in pieces:
                if isinstance(piece, str):
                    yield piece
                    continue
                ended = time.perf_counter()
                timings = Timings(
                    retrieve=(retrieved - began) * 1000,
                    generate=(ended - retrieved) * 1000,
                    total=(ended - began) * 1000,
                )
                yield self._finish(piece, hits, timings)

    def _checked(self, question: str) -> str:
        stripped = question.strip()
        if not stripped:
            raise DataError("the question is empty: ask something")
        limit = self.settings.max_question_characters
        if len(stripped) > limit:
            raise DataError(f"the question has {len(stripped)} characters, more than {limit}: shorten it")
        return stripped

    def _retrieve(self, questions: list[str]) -> list[list[Hit]]:
        if self.retriever is None:
            return [[] for _ in questions]
        return [self._within_budget(hits) for hits in self.retriever.search_many(questions, self.top_k)]

    def _within_budget(self, hits: list[Hit]) -> list[Hit]:
        """The best passages whose tokens fit assistant.context_tokens together."""
        kept, left = [], self.settings.context_tokens
        for hit in hits:
            left -= self.engine.count_tokens(hit.chunk.embedded_text)
            if left < 0:
                break
            kept.append(hit)
        return kept

    def _prompt(self, question: str, hits: Sequence[Hit]) -> list[dict[str, str]]:
        passages: list[Passage] = [hit.chunk.passage() for hit in hits]
        return conversation(question, passages, self.settings.system, self.examples)

    def _finish(self, generation: Generation, hits: Sequence[Hit], timings: Timings) -> Answer:
        sources = [_citation(number, hit) for number, hit in enumerate(hits, start=1)]
        cited = {int(mark) for mark in _MARK.findall(generation.text)}
        problems = []
        if unknown := sorted(cited - {source.number for source in sources}):
            problems.append(f"cites passages that were not shown: {', '.join(f'[{n}]' for n in unknown)}")
        if generation.answer_tokens >= self.settings.max_new_tokens:
            problems.append("cut at assistant.max_new_tokens")
        if self.retriever is not None and not hits:
            problems.append("no passage was found, or none fits assistant.context_tokens")
        return Answer(
            text=generation.text,
            route=self.route,
            citations=[source for source in sources if source.number in cited],
            sources=sources,
            confidence=generation.confidence,
            prompt_tokens=generation.prompt_tokens,
            answer_tokens=generation.answer_tokens,
            timings=timings,
            release=self.release,
            problems=problems,
        )


def _citation(number: int, hit: Hit) -> Citation:
    chunk = hit.chunk
    return Citation(
        number=number,
        document=chunk.document,
        title=chunk.title,
        heading=chunk.heading,
        start=chunk.start,
        end=chunk.end,
        text=chunk.text,
        uri=chunk.uri,
        updated_at=chunk.metadata.get("updated_at", ""),
    )
