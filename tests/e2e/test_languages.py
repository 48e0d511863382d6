"""Two languages in one worker under the real SDK: each job is read and spoken as its model, or its voice's, needs."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import Rig
from tests.e2e.fake_api import Body
from tests.e2e.test_jobs import sound

pytestmark = pytest.mark.e2e

ENGLISH: Body = {"text": "There are 3 cups in here.", "voice": "joe", "nfe_step": 4, "seed": 3}
FRENCH: Body = {"text": "« Où sont les 3 élèves ? » demanda Mme Élie.", "nfe_step": 4, "seed": 3}
READ = "« Où sont les trois élèves? » demanda madame Élie."


@pytest.fixture(scope="module")
def overrides() -> Mapping[str, str]:
    return {"F5_EXTRA_MODEL_DIRS": f"f5-tiny-fr={ROOT / 'models' / 'f5-tiny-fr'}"}


def test_a_voice_of_the_second_model_is_spoken_by_it_in_its_language(rig: Rig) -> None:
    output = rig.run(FRENCH | {"voice": "siwis"})["output"]
    assert (output["model"], output["warnings"]) == ("f5-tiny-fr", [])
    preview = rig.run({"action": "preview", "text": FRENCH["text"], "voice": "siwis"})["output"]
    assert (preview["model"], preview["language"]) == ("f5-tiny-fr", "fr")
    assert " ".join(part["text"] for part in preview["segments"]) == READ


def test_the_models_take_turns_and_change_nothing_of_each_other(rig: Rig) -> None:
    first = rig.run(ENGLISH)
    french = rig.run(FRENCH | {"voice": "siwis"})
    assert first["output"]["model"] == "f5-tiny"
    assert sound(rig.run(ENGLISH)) == sound(first)
    assert sound(rig.run(FRENCH | {"voice": "siwis"})) == sound(french)
    together = [rig.api.submit(job) for job in (ENGLISH, FRENCH | {"voice": "siwis"}) * 2]
    models = [rig.api.wait(job)["output"]["model"] for job in together]
    assert models == ["f5-tiny", "f5-tiny-fr"] * 2


def test_a_job_may_name_the_model_for_any_voice(rig: Rig) -> None:
    output = rig.run(FRENCH | {"voice": "joe", "model": "f5-tiny-fr"})["output"]
    assert (output["model"], output["warnings"]) == ("f5-tiny-fr", [])
    output = rig.run(ENGLISH | {"voice": "siwis", "model": "f5-tiny"})["output"]
    assert output["model"] == "f5-tiny"


def test_the_voices_of_both_are_listed(rig: Rig) -> None:
    voices = rig.run({"action": "voices.list"})["output"]["voices"]
    assert {"joe", "siwis"} <= {voice["name"] for voice in voices}
