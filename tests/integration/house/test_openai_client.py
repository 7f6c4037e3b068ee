"""The platform as the `openai` client meets it, with simulated engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest
import pytest_asyncio

from support.house import House

MODEL = "simulated"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    data: Path = tmp_path_factory.mktemp("house") / "data"
    async with House(data, "--engine", "simulated", "--replicas", "3") as house:
        yield house


pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


@pytest.fixture
async def client(house: House) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{house.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def question(text: str = "Hello") -> list[openai.types.chat.ChatCompletionUserMessageParam]:
    return [{"role": "user", "content": text}]


async def test_a_whole_chat_completion_has_text_and_usage(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model=MODEL, messages=question(), max_tokens=8)

    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8
    assert answer.model == MODEL


async def test_a_streamed_chat_completion_says_the_same_as_a_whole_one(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model=MODEL, messages=question(), max_tokens=8)

    stream = await client.chat.completions.create(model=MODEL, messages=question(), max_tokens=8, stream=True)
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]

    assert "".join(pieces) == whole.choices[0].message.content
    assert len([piece for piece in pieces if piece]) == 8


async def test_a_stream_tells_its_usage_when_asked(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model=MODEL, messages=question(), max_tokens=4, stream=True, stream_options={"include_usage": True}
    )
    usages = [chunk.usage async for chunk in stream if chunk.usage is not None]

    assert [usage.completion_tokens for usage in usages] == [4]


async def test_completions_are_answered_whole_and_streamed(client: openai.AsyncOpenAI) -> None:
    whole = await client.completions.create(model=MODEL, prompt="Once upon", max_tokens=6)
    stream = await client.completions.create(model=MODEL, prompt="Once upon", max_tokens=6, stream=True)
    pieces = [chunk.choices[0].text async for chunk in stream if chunk.choices]

    assert whole.choices[0].text
    assert "".join(pieces) == whole.choices[0].text


async def test_models_are_listed(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == [MODEL]


async def test_an_unknown_model_is_not_found(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        await client.chat.completions.create(model="nothing", messages=question())

    assert error.value.code == "model_not_found"
    assert MODEL in error.value.message


async def test_a_request_that_the_engine_refuses_is_a_bad_request(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        await client.chat.completions.create(model=MODEL, messages=question(), n=3)

    assert error.value.param == "n"


async def test_a_body_over_the_limit_is_refused_with_413(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as error:
        await client.chat.completions.create(model=MODEL, messages=question("x" * 9_000_000))

    assert error.value.status_code == 413


async def test_two_hundred_parallel_requests_are_all_answered(client: openai.AsyncOpenAI) -> None:
    answers = await asyncio.gather(
        *(client.chat.completions.create(model=MODEL, messages=question(f"{i}"), max_tokens=5) for i in range(200))
    )

    assert len({answer.id for answer in answers}) == 200
    assert all(answer.usage is not None and answer.usage.completion_tokens == 5 for answer in answers)
