"""Speak a sentence with a voice agent's ElevenLabs plug-in of which only the address is changed; print what it heard.

    python agents.py pipecat|pipecat-http|livekit ADDRESS

Run by test_agents.py with the Python of an environment that has the agents' packages.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

SENTENCES = ("The morning light came slowly over the quiet hills.", "And then it was day.")


async def speak_with_pipecat(address: str) -> dict[str, Any]:
    """The audio and the words that pipecat's service for WebSockets gives, in order."""
    from pipecat.services.elevenlabs.tts import ElevenLabsTTSService

    settings = ElevenLabsTTSService.Settings(voice="joe", stability=0.5, speed=1.0)
    return await _hear(
        ElevenLabsTTSService(api_key="any", url=f"ws://{address}", settings=settings, sample_rate=24_000)
    )


async def speak_with_pipecat_http(address: str) -> dict[str, Any]:
    """The audio and the words that pipecat's service for HTTP gives, in order."""
    import aiohttp
    from pipecat.services.elevenlabs.tts import ElevenLabsHttpTTSService

    async with aiohttp.ClientSession() as session:
        return await _hear(
            ElevenLabsHttpTTSService(
                api_key="any",
                base_url=f"http://{address}",
                settings=ElevenLabsHttpTTSService.Settings(voice="joe"),
                aiohttp_session=session,
                sample_rate=24_000,
            )
        )


async def _hear(service: Any) -> dict[str, Any]:
    from pipecat.frames.frames import (
        ErrorFrame,
        LLMFullResponseEndFrame,
        LLMFullResponseStartFrame,
        LLMTextFrame,
        TTSAudioRawFrame,
        TTSTextFrame,
    )
    from pipecat.tests.utils import run_test

    said = [LLMTextFrame(f"{sentence} ") for sentence in SENTENCES]
    turn = [LLMFullResponseStartFrame(), *said, LLMFullResponseEndFrame()]
    heard, errors = await run_test(service, frames_to_send=turn)
    words = [frame for frame in heard if isinstance(frame, TTSTextFrame)]
    return {
        "n_bytes": sum(len(frame.audio) for frame in heard if isinstance(frame, TTSAudioRawFrame)),
        "words": [frame.text for frame in words],
        "times_s": [(frame.pts or 0) / 1e9 for frame in words],
        "errors": [str(frame) for frame in (*heard, *errors) if isinstance(frame, ErrorFrame)],
    }


async def speak_with_livekit(address: str) -> dict[str, Any]:
    """The audio and the timed words of a stream of livekit's plug-in."""
    import aiohttp
    from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT
    from livekit.plugins import elevenlabs

    async with aiohttp.ClientSession() as session:
        tts = elevenlabs.TTS(base_url=f"http://{address}/v1", voice_id="joe", api_key="any", http_session=session)
        voices = await tts.list_voices()
        words, n_bytes = [], 0
        async with tts.stream() as stream:
            for sentence in SENTENCES:
                stream.push_text(f"{sentence} ")
            stream.end_input()
            async for event in stream:
                n_bytes += len(event.frame.data) * 2
                words += event.frame.userdata.get(USERDATA_TIMED_TRANSCRIPT, [])
        rate = tts.sample_rate
        await tts.aclose()
    return {
        "n_bytes": round(n_bytes * 24_000 / rate),
        "words": [str(word) for word in words],
        "times_s": [word.start_time for word in words],
        "errors": [] if any(voice.id == "joe" for voice in voices) else ["joe is not listed"],
    }


AGENTS = {"pipecat": speak_with_pipecat, "pipecat-http": speak_with_pipecat_http, "livekit": speak_with_livekit}

if __name__ == "__main__":
    agent, server = sys.argv[1:]
    print(json.dumps(asyncio.run(AGENTS[agent](server))))
