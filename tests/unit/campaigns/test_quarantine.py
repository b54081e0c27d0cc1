from pathlib import Path
from typing import Any

import pytest
from puppet import SESSION, Puppet

from voltaloop.campaigns import campaign_history, decide, quarantined
from voltaloop.campaigns.quarantine import QuarantinedCase
from voltaloop.campaigns.requests import open_requests
from voltaloop.core import CampaignFolderError, Task

LADDER = [{"name": "gently", "reasons": ["not_converged"], "options": {"parameters": {"a": 1}}}]


@pytest.fixture
def puppet(tmp_path: Path) -> Puppet:
    return Puppet(tmp_path / "campaign", reference={"ladder": LADDER}).open()


def refused_label(puppet: Puppet, task: Task) -> dict[str, Any]:
    """What a refusal holds when there is a finite label that the gate refused."""
    found = puppet.label(task)
    return {key: found[key] for key in ("label", "energy_per_atom", "moment_per_metal")}


def shown(puppet: Puppet) -> list[QuarantinedCase]:
    return quarantined(puppet.write())


def test_a_new_campaign_has_nothing_in_quarantine(puppet: Puppet) -> None:
    assert shown(puppet) == []


def test_a_calculation_is_shown_with_every_try_and_its_files(puppet: Puppet) -> None:
    first = puppet.under_way("label")[0]
    logs = [puppet.store.put_bytes(text, "txt") for text in (b"try one", b"try two")]
    puppet.refuse(first, "not_converged", files={"scf.txt": logs[0]})
    (second,) = [task for task in puppet.under_way("label") if puppet.case(task) == first.id]
    puppet.refuse(second, "crashed", files={"scf.txt": logs[1]})
    (case,) = shown(puppet)
    assert (case.id, case.title, case.role) == (first.id, first.title, "start")
    assert (case.reason, case.detail) == ("crashed", "99 eV/Å on atom 3")
    assert case.tries == (
        ("as asked", "not_converged", "99 eV/Å on atom 3"),
        ("gently", "crashed", "99 eV/Å on atom 3"),
    )
    assert [name for name, _ in case.files] == ["scf.txt", "scf.txt"]
    assert [path.read_text() for _, path in case.files] == ["try one", "try two"]
    assert not case.acceptable


def test_a_calculation_on_the_ladder_is_not_in_quarantine(puppet: Puppet) -> None:
    puppet.refuse(puppet.under_way("label")[0], "not_converged")
    assert shown(puppet) == []


def test_a_retry_begins_at_the_first_rung_and_ends_the_quarantine(puppet: Puppet) -> None:
    first = puppet.under_way("label")[0]
    puppet.refuse_for_good(first, "not_converged")
    folder = puppet.write()
    assert decide(folder, "retry", first.id[:4].upper()) == first.id
    ((kind, data),) = open_requests(folder)
    puppet.react("session", SESSION)
    puppet.react(kind, data)
    (again,) = [task for task in puppet.under_way("label") if puppet.case(task) == first.id]
    assert again.inputs["reference"] == first.inputs["reference"]
    assert puppet.state.cases.quarantine == []
    assert [e.kind for e in puppet.react(kind, data)] == ["asked"]
    puppet.finish(again)
    assert len(puppet.state.labels) == 1


def test_an_accepted_label_enters_the_campaign(puppet: Puppet) -> None:
    first = puppet.under_way("label")[0]
    puppet.refuse(first, "force_too_large", **refused_label(puppet, first))
    folder = puppet.write()
    (case,) = quarantined(folder)
    assert case.acceptable
    assert decide(folder, "accept", case.id) == first.id
    ((kind, data),) = open_requests(folder)
    puppet.react(kind, data)
    assert [one.by_person for one in puppet.state.labels] == [True]
    assert puppet.state.cases.quarantine == []


@pytest.mark.parametrize("reason", ["crashed", "timed_out", "not_converged"])
def test_where_there_is_no_label_none_can_be_accepted(puppet: Puppet, reason: str) -> None:
    first = puppet.under_way("label")[0]
    puppet.refuse_for_good(first, reason)
    folder = puppet.write()
    with pytest.raises(CampaignFolderError) as caught:
        decide(folder, "accept", first.id)
    assert f"{first.id[:8]} has no label to accept: it ended with {reason}" in str(caught.value)
    assert f"--retry {first.id[:8]} computes it again" in str(caught.value)
    assert open_requests(folder) == []


def test_a_relaxation_of_the_reference_can_be_retried_and_not_accepted(puppet: Puppet) -> None:
    (lithium,) = puppet.under_way("relax_reference")
    found = puppet.store.put_json({"energy": 1.0})
    more = {"label": found, "energy_per_atom": 1.0}
    puppet.refuse(lithium, "relaxation_failed", **more)
    folder = puppet.write()
    (case,) = quarantined(folder)
    assert (case.role, case.acceptable) == ("lithium", False)
    with pytest.raises(CampaignFolderError, match="has no label to accept"):
        decide(folder, "accept", case.id)
    assert decide(folder, "retry", case.id) == lithium.id


def test_an_id_that_is_not_in_quarantine_is_refused(puppet: Puppet) -> None:
    good, bad, *_ = puppet.under_way("label")
    puppet.finish(good)
    puppet.refuse_for_good(bad)
    folder = puppet.write()
    with pytest.raises(CampaignFolderError, match="fits 0 of the 1 calculations in quarantine"):
        decide(folder, "retry", good.id)


def test_a_campaign_with_its_answer_computes_nothing_any_more(puppet: Puppet) -> None:
    first = puppet.under_way("label")[0]
    puppet.refuse_for_good(first)
    puppet.run()
    folder = puppet.write()
    assert [case.id for case in quarantined(folder)] == [first.id]
    with pytest.raises(CampaignFolderError, match=r"has its answer; nothing is computed.*--out"):
        decide(folder, "retry", first.id)


def test_the_history_tells_of_refusals_and_of_what_a_person_accepted(puppet: Puppet) -> None:
    first = puppet.under_way("label")[0]
    puppet.refuse(first, "force_too_large", **refused_label(puppet, first))
    puppet.react("asked", {"request": "r1", "what": "accept", "case": first.id})
    history = campaign_history(puppet.write())
    assert [one.reason for one in history.refusals] == ["force_too_large"]
    assert [one.reason for one in history.labels] == ["accepted by a person"]
