"""Text that is spoken while it is written: ElevenLabs' WebSockets."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import av
import pytest
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from f5_worker.audio.encoders import EncoderPool
from f5_worker.engine.types import Segment
from f5_worker.http import exchange
from f5_worker.synthesis.context import Worker
from tests.conftest import ToneDevice
from tests.http.conftest import RunningServer, running

ROUTE = "/v1/text-to-speech/joe/stream-input"
ONE, TWO = "The morning light came slowly over the quiet hills. ", "And then it was day, all of a sudden. "


def opened(server: RunningServer, route: str = "stream-input", query: str = "", **options: Any) -> ClientConnection:
    return connect(
        f"ws://{server.address}/v1/text-to-speech/joe/{route}?output_format=pcm_24000&seed=7&{query}", **options
    )


def send(client: ClientConnection, **message: Any) -> None:
    client.send(json.dumps(message))


def until_final(client: ClientConnection) -> Iterator[dict[str, Any]]:
    """The messages of a text up to its end."""
    while not (message := json.loads(client.recv(timeout=30)))["isFinal"]:
        yield message


def audio_of(messages: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(message["audio"]) for message in messages)


def told(client: ClientConnection) -> tuple[dict[str, Any], ConnectionClosed]:
    """The error that a connection ends with, and its close."""
    messages = []
    try:
        while True:
            messages.append(json.loads(client.recv(timeout=30)))
    except ConnectionClosed as closed:
        return messages[-1], closed


def client_of(server: RunningServer, key: str = "any") -> ElevenLabs:
    client = ElevenLabs(base_url=server.url, api_key=key, timeout=30)
    client.text_to_speech._ws_base_url = f"ws://{server.address}"  # it asks for TLS, whatever the address
    return client


def test_the_official_client_speaks_what_is_written(server: RunningServer) -> None:
    client = client_of(server)
    words = iter([f"{word} " for word in (ONE + TWO).split()])
    spoken = b"".join(client.text_to_speech.convert_realtime("joe", text=words, output_format="pcm_24000"))
    assert 3 < len(spoken) / 48_000 < 10
    mp3 = b"".join(client.text_to_speech.convert_realtime("joe", text=iter([ONE]), output_format="mp3_44100_128"))
    assert mp3[:2] in (b"ID", b"\xff\xfb")


def test_the_official_client_raises_an_error(worker: Worker, server: RunningServer) -> None:
    with pytest.raises(ApiError) as error:
        b"".join(client_of(server).text_to_speech.convert_realtime("nowhere", text=iter([ONE])))
    assert error.value.status_code == 1008
    assert "UNKNOWN_VOICE" in str(error.value.body)
    with running(worker, api_key="right") as keyed:
        assert b"".join(client_of(keyed, "right").text_to_speech.convert_realtime("joe", text=iter([ONE])))
        with pytest.raises(InvalidStatus):
            b"".join(client_of(keyed, "wrong").text_to_speech.convert_realtime("joe", text=iter([ONE])))


def test_one_text_is_the_audio_of_the_request(server: RunningServer) -> None:
    whole = b"".join(
        client_of(server).text_to_speech.convert(voice_id="joe", text=ONE, output_format="pcm_24000", seed=7)
    )
    with opened(server) as client:
        send(client, text=" ", voice_settings={"stability": 0.5})
        send(client, text=ONE)
        send(client, text="")
        assert audio_of(list(until_final(client))) == whole
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=30)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


@pytest.mark.parametrize("sync", [False, True])
def test_times_reach_to_the_end_of_each_message(server: RunningServer, sync: bool) -> None:
    with opened(server, query=f"sync_alignment={str(sync).lower()}") as client:
        send(client, text=ONE, flush=True)
        send(client, text=TWO.rstrip())
        send(client, text="")
        messages = list(until_final(client))
    aligned = [(message["alignment"], message["audio"]) for message in messages if message["alignment"]]
    assert "".join(char for times, _ in aligned for char in times["chars"]) == ONE + TWO
    clock_ms = 0
    for times, _ in aligned:
        starts, lengths = times["charStartTimesMs"], times["charDurationsMs"]
        begin_ms = clock_ms if sync else 0
        assert starts[0] >= begin_ms
        assert starts == sorted(starts)
        clock_ms = starts[-1] + lengths[-1] + clock_ms - begin_ms
    assert clock_ms == pytest.approx(len(audio_of(messages)) / 48, abs=2)
    assert messages[0]["normalizedAlignment"] == messages[0]["alignment"]


def test_a_text_is_spoken_before_it_is_complete(server: RunningServer) -> None:
    with opened(server) as client:
        send(client, text=" ", generation_config={"chunk_length_schedule": [50]})
        send(client, text=ONE)
        first = json.loads(client.recv(timeout=30))
        assert "".join(first["alignment"]["chars"]) == ONE
        send(client, text="Never spoken")
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.2)


def test_contexts_are_apart(server: RunningServer) -> None:
    with opened(server, "multi-stream-input", "auto_mode=true") as client:
        send(client, text="")  # keeps the connection alive
        for name, text in (("a", ONE), ("b", TWO)):
            send(client, text=" ", context_id=name, voice_settings={"speed": 1.0})
            send(client, text=text, context_id=name)
        send(client, context_id="a", flush=True)
        for name in ("a", "b"):
            send(client, context_id=name, close_context=True)
        spoken: dict[str, str] = {"a": "", "b": ""}
        finals = set()
        while finals != {"a", "b"}:
            message = json.loads(client.recv(timeout=30))
            name = message["contextId"]
            if message["isFinal"]:
                finals.add(name)
            elif message["alignment"]:
                assert name not in finals
                spoken[name] += "".join(message["alignment"]["chars"])
        assert spoken == {"a": ONE, "b": TWO}
        send(client, close_socket=True)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=30)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


def test_a_closed_context_speaks_no_more(server: RunningServer) -> None:
    with opened(server, "multi-stream-input") as client:
        send(client, text="Too short to be spoken yet ", context_id="a")
        send(client, context_id="a", close_context=True)
        assert json.loads(client.recv(timeout=30)) == {
            "audio": None, "isFinal": True, "alignment": None, "normalizedAlignment": None, "contextId": "a",
        }  # fmt: skip


def test_what_cannot_be_spoken_is_left_out(server: RunningServer) -> None:
    with opened(server, query="auto_mode=true") as client:
        for text in (" ", "... ", "😀 ", ONE):
            send(client, text=text)
        send(client, text="")
        messages = list(until_final(client))
    assert "".join(messages[0]["alignment"]["chars"]) == ONE


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("no json", "invalid_input"), ('["text"]', "invalid_input"), ('{"text": 3}', "invalid_input"),
        (json.dumps({"text": "word " * 5_000}), "invalid_input"),
        (json.dumps({"text": ONE, "flush": True, "voice_settings": {"speed": "fast"}}), "invalid_input"),
    ],
)  # fmt: skip
def test_a_wrong_message_ends_the_connection_with_its_error(server: RunningServer, sent: str, code: str) -> None:
    with opened(server) as client:
        client.send(sent)
        error, closed = told(client)
    assert (error["error"], error["code"]) == (code, 1008)
    assert closed.rcvd is not None
    assert closed.rcvd.code == 1008
    assert closed.rcvd.reason.startswith("INVALID_INPUT: ")


@pytest.mark.parametrize(
    "output_format", ["pcm_16000", "mp3_44100_128", "mp3_22050_32", "opus_48000_64", "wav_24000", "ulaw_8000"]
)
def test_the_parts_of_a_text_are_one_file(server: RunningServer, output_format: str) -> None:
    address = f"ws://{server.address}/v1/text-to-speech/joe/stream-input?seed=7&output_format="
    lengths_s = []
    for name in ("pcm_24000", output_format):
        with connect(f"{address}{name}") as client:
            for text in (ONE, TWO, ONE):
                send(client, text=text, flush=True)
            send(client, text="")
            data = audio_of(list(until_final(client)))
        lengths_s.append(_length_s(name, data))
    assert lengths_s[1] == pytest.approx(lengths_s[0], abs=0.11)  # one delay of the codec, not three


@pytest.fixture
def pool() -> Iterator[EncoderPool]:
    pool = EncoderPool(1)
    yield pool
    pool.close()


def n_open(pool: EncoderPool) -> int:
    return sum(len(process.files) for process in pool._processes)


def test_codecs_run_in_the_encoders_processes(worker: Worker, server: RunningServer, pool: EncoderPool) -> None:
    spoken = []
    with running(dataclasses.replace(worker, encoders=pool)) as elsewhere:
        for each in (server, elsewhere):
            with connect(f"ws://{each.address}{ROUTE}?seed=7&output_format=mp3_44100_128") as client:
                for text in (ONE, TWO):
                    send(client, text=text, flush=True)
                send(client, text="")
                spoken.append(audio_of(list(until_final(client))))
    assert spoken[0] == spoken[1]
    assert len(pool._processes) == 1
    assert n_open(pool) == 0


def test_a_client_that_leaves_leaves_no_file_in_them(
    worker: Worker, pool: EncoderPool, until: Callable[[Callable[[], bool]], None]
) -> None:
    with running(dataclasses.replace(worker, encoders=pool)) as server:
        route = ROUTE.replace("stream-input", "multi-stream-input")
        with connect(f"ws://{server.address}{route}?output_format=mp3_44100_128") as client:
            for name in "ab":
                send(client, text=ONE, context_id=name, flush=True)
            until(lambda: n_open(pool) == 2)
        until(lambda: n_open(pool) == 0)


def _length_s(output_format: str, data: bytes) -> float:
    codec, rate, *_ = output_format.split("_")
    if codec in ("pcm", "ulaw"):
        return len(data) / (2 if codec == "pcm" else 1) / int(rate)
    with av.open(io.BytesIO(data)) as file:
        return sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))


def test_long_audio_comes_in_messages_that_every_client_takes(server: RunningServer) -> None:
    with opened(server, query="auto_mode=true") as client:  # at most 2**20 bytes
        send(client, text=ONE * 20)
        send(client, text="")
        messages = list(until_final(client))
    assert len(audio_of(messages)) > 2**20
    assert "".join(char for each in messages if each["alignment"] for char in each["alignment"]["chars"]) == ONE * 20


def test_a_format_that_is_not_made_ends_the_connection(server: RunningServer) -> None:
    with connect(f"ws://{server.address}/v1/text-to-speech/joe/stream-input?output_format=pcm_32000") as client:
        error, _ = told(client)
        assert "pcm_24000" in error["message"]


def test_too_much_text_and_too_many_contexts_are_refused(worker: Worker, device: ToneDevice) -> None:
    free = threading.Event()
    device.before = lambda segment, step: free.wait(20) and None
    with running(worker, max_text_chars=500) as server:
        with opened(server) as client:
            for _ in range(12):
                send(client, text=ONE, flush=True)
            assert told(client)[0]["error"] == "text_too_long"
        free.set()
        with opened(server, "multi-stream-input") as client:
            for number in range(21):
                send(client, text=" ", context_id=str(number))
            assert "20 contexts are open" in told(client)[0]["message"]


def test_a_key_may_come_with_the_query_or_the_first_message(worker: Worker) -> None:
    with running(worker, api_key="ann:right") as server:
        for query, message in (
            ("xi_api_key=right", {}), ("authorization=Bearer%20right", {}), ("", {"xi_api_key": "right"}),
            ("", {"xi-api-key": "right"}), ("", {"authorization": "Bearer right"}),
        ):  # fmt: skip
            with opened(server, query=query) as client:
                send(client, text=" ", **message)
                send(client, text=ONE)
                send(client, text="")
                assert audio_of(list(until_final(client)))
        for message in ({}, {"xi_api_key": "wrong"}):
            with opened(server) as client:
                send(client, text=ONE, flush=True, **message)
                error, closed = told(client)
            assert error["error"] == "unauthorized"
            assert closed.rcvd is not None
            assert closed.rcvd.code == 1008
        for options in ({"query": "xi_api_key=wrong"}, {"additional_headers": {"xi-api-key": "wrong"}}):
            with pytest.raises(InvalidStatus) as refused:
                opened(server, **options)  # type: ignore[arg-type]
            assert refused.value.response.status_code == 401


def test_a_client_that_leaves_ends_its_work(
    server: RunningServer, device: ToneDevice, until: Callable[[Callable[[], bool]], None]
) -> None:
    started, n_steps = threading.Event(), 0

    def slow(segment: Segment, step: int) -> None:
        nonlocal n_steps
        n_steps += 1
        started.set()
        time.sleep(0.05)

    device.before = slow
    with opened(server, "multi-stream-input") as client:
        for name in "abc":
            send(client, text=ONE * 20, context_id=name, flush=True)
        assert started.wait(20)
    until(lambda: not server.service.runner.n_jobs)
    at_end = n_steps
    time.sleep(0.2)
    assert n_steps <= at_end + 1


def test_a_client_that_says_nothing_is_told_and_disconnected(server: RunningServer) -> None:
    with opened(server, query="inactivity_timeout=1") as client:
        error, closed = told(client)
    assert "no message came for 1 s" in error["message"]
    assert closed.rcvd is not None
    assert closed.rcvd.code == 1008


def test_a_client_that_reads_nothing_is_disconnected(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, until: Callable[[Callable[[], bool]], None]
) -> None:
    monkeypatch.setattr(exchange, "MAX_UNREAD_S", 0.5)
    address = f"ws://{server.address}/v1/text-to-speech/joe/stream-input?auto_mode=true&output_format=wav_48000"
    raw = socket.create_connection(tuple(server.address.split(":")))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    with connect(address, sock=raw, max_queue=1, close_timeout=0.1) as client:
        for _ in range(8):
            send(client, text=ONE * 40)
        until(lambda: b'f5_errors_total{code="JOB_TIMEOUT"} 1.0' in server.service.metrics.render())
        until(lambda: not server.service.runner.n_jobs)


def test_a_full_queue_is_said_with_its_own_code(
    worker: Worker, device: ToneDevice, until: Callable[[Callable[[], bool]], None]
) -> None:
    free = threading.Event()
    device.before = lambda segment, step: free.wait(20) and None
    with running(worker, concurrency=1, queue_jobs=1) as server, ExitStack() as stack:
        for _ in range(2):
            running_or_waiting = stack.enter_context(opened(server, "multi-stream-input"))
            send(running_or_waiting, text=ONE, flush=True, context_id="a")
        until(lambda: server.service.runner.n_jobs == 2)
        refused = stack.enter_context(opened(server, "multi-stream-input"))
        send(refused, text=ONE, flush=True, context_id="a")
        error, closed = told(refused)
        free.set()
    assert (error["error"], error["code"]) == ("queue_full", 1013)
    assert closed.rcvd is not None
    assert closed.rcvd.code == 1013


def test_idle_connections_take_no_thread_and_hold_up_no_one(server: RunningServer) -> None:
    n_threads = threading.active_count()

    async def idle() -> None:
        address = f"ws://{server.address}/v1/text-to-speech/joe/stream-input?inactivity_timeout=180"
        clients = await asyncio.gather(*(connect_async(address, open_timeout=60) for _ in range(200)))
        assert threading.active_count() <= n_threads + 1
        assert not server.service.runner.n_jobs
        await clients[0].send(json.dumps({"text": ONE}))
        await clients[0].send(json.dumps({"text": ""}))
        async for message in clients[0]:
            if json.loads(message)["isFinal"]:
                break
        await asyncio.gather(*(client.close() for client in clients))

    asyncio.run(idle())
