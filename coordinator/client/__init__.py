"""A typed client of the coordinator's services, for sponsors, hospitals and regulators.

    with Consilium.from_kit(Path("kits/sponsor")) as consilium:
        study = consilium.submit(Path("study.toml"))
        study.start()
        for event in study.watch():
            print(event)
        print(study.result().content)

What the coordinator says about progress is for information; a result is believed for its hospitals' signatures
and the chain, which the client checks itself.
"""

from coordinator.client.client import Consilium, StudyHandle
from coordinator.client.kit import Kit, Sponsor
from coordinator.client.model import Accusation, Check, Phase, Seal, StudyEvent, StudyState, Verdict
from coordinator.sponsor import Result

__all__ = [
    "Accusation",
    "Check",
    "Consilium",
    "Kit",
    "Phase",
    "Result",
    "Seal",
    "Sponsor",
    "StudyEvent",
    "StudyHandle",
    "StudyState",
    "Verdict",
]
