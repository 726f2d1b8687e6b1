"""CrypTen's own parts are gone, and the engine does not start where one is back."""

import hashlib
import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from consilium_errors import Misuse, Refused
from crypto.mpc import communicator, replicated, seam
from crypto.mpc.links import Links
from crypto.mpc.prg import Stream
from crypto.mpc.process import Job
from tests.crypto.mpc.stand import Committee, Seat

ROOT = Path(__file__).parents[3]
#: What the seam was reviewed against; look again at what it replaces before changing one.
REVIEWED = {
    "__init__.py": "f2df9395a0fef0ba",
    "common/rng.py": "286ba7aed7c96933",
    "communicator/__init__.py": "5ebdafe44274804f",
    "mpc/__init__.py": "21084853fe4763d2",
    "mpc/primitives/arithmetic.py": "697661d0fbd38dad",
    "mpc/primitives/beaver.py": "f5945d3dc2a8afaa",
    "mpc/primitives/binary.py": "950fd726e78dec03",
    "mpc/primitives/circuit.py": "9589e0f3f24e38ea",
    "mpc/primitives/converters.py": "f3791cf34f0665af",
    "mpc/primitives/replicated.py": "41dd3f5506004d7b",
}


def test_the_reviewed_version_is_installed():
    assert importlib.metadata.version("crypten") == seam.VERSION
    assert torch.__version__.split("+")[0] == "2.13.0"
    spec = importlib.util.find_spec("crypten")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    found = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest()[:16] for name in REVIEWED}
    assert found == REVIEWED


def test_one_file_knows_crypten():
    knowing = [
        path.relative_to(ROOT).as_posix()
        for room in ("crypto", "participants", "coordinator", "consent_contracts", "deploy", "analytics")
        for path in (ROOT / room).rglob("*.py")
        if 'import_module("crypten' in (text := path.read_text()) or "import crypten" in text
    ]
    assert knowing == ["crypto/mpc/seam.py"]


def test_a_hospital_loads_neither_torch_nor_crypten():
    code = "import sys, crypto.mpc.sharing, crypto.mpc.opening, crypto.mpc.process; "
    code += "assert not {'torch', 'crypten'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# In each of these one member's process is made to hold a stock part; it must be refused before anything is sent.


def _module(name: str):
    return sys.modules[f"crypten.{name}"]


def put_back(where: str):
    stock = {getattr(v, "__name__", type(v).__name__): v for v in seam.load().stock.values()}
    if where == "generator function":
        _module("mpc.primitives.binary").generate_kbit_random_tensor = stock["generate_kbit_random_tensor"]
    elif where == "generator function under another name":
        _module("mpc.primitives.circuit").helper = stock["generate_random_ring_element"]
    elif where == "first-party provider":
        _module("mpc").get_default_provider = stock["get_default_provider"]
    elif where == "first-party provider itself":
        _module("mpc").chosen = stock["TrustedFirstParty"]
    elif where == "square":
        _module("mpc.primitives.replicated").square = stock["square"]
    elif where == "gloo":
        _module("communicator").DistributedCommunicator = stock["DistributedCommunicator"]
    elif where == "pickle":
        _module("common.serial").pickle = stock["pickle"]
    elif where == "a copy of the generator function":
        _module("mpc.primitives.arithmetic").generate_random_ring_element = lambda *a, **k: torch.zeros(1)
    seam.start(Links.__new__(Links))  # the parts are checked before anything is sent


@pytest.mark.parametrize(
    "where",
    [
        "generator function",
        "generator function under another name",
        "first-party provider",
        "first-party provider itself",
        "square",
        "gloo",
        "pickle",
        "a copy of the generator function",
    ],
)
def test_a_stock_part_anywhere_and_the_engine_does_not_start(where):
    with Job(put_back, where) as job, pytest.raises(Refused) as e:
        job.result(60)
    assert e.value.code == "mpc.stock_part"


def start_over(links: object):
    seam.start(links)  # type: ignore[arg-type]


def test_nothing_but_the_links_carries_shares():
    with Job(start_over, None) as job, pytest.raises(Refused) as e:
        job.result(60)
    assert e.value.code == "mpc.plaintext_link"


def use_stock(links: Links, seat: Seat):
    """Every stock way that stays reachable by name, tried while the engine runs."""
    engine = seam.start(links)
    crypten = seam.load().crypten
    tensor = crypten.mpc.primitives.ArithmeticSharedTensor
    x = tensor.from_shares(torch.tensor([3, 4, 5]), precision=0)
    stock_generator = torch.Generator()
    tries = {
        "provider": lambda: crypten.mpc.get_default_provider(),
        "first party": lambda: crypten.mpc.provider.TrustedFirstParty(),
        "third party": lambda: crypten.mpc.provider.TrustedThirdParty(),
        "as they are": lambda: _module("mpc.primitives.replicated").replicate_shares([x.share]),
        "truncate": lambda: x.div_(3),
        "pickle out": lambda: crypten.communicator.get().send_obj({}, 1),
        "pickle in": lambda: crypten.communicator.get().recv_obj(1),
        "unpickle": lambda: _module("common.serial").restricted_loads(b""),
        "load": lambda: crypten.load("file"),
        "seed": lambda: crypten.manual_seed(1, 2, 3),
        "init": lambda: crypten.init(),
        "threads": lambda: crypten.init_thread(0, 3),
        "gloo": lambda: crypten.communicator.DistributedCommunicator.initialize(0, 3),
        "in process": lambda: (
            crypten.communicator._init(use_threads=True, rank=0, world_size=3)
            or crypten.communicator.InProcessCommunicator.initialize(0, 3)
        ),
        "generator": lambda: _module("common.rng").generate_random_ring_element(
            (2,), generator=stock_generator
        ),
        "bits": lambda: _module("mpc.primitives.binary").generate_kbit_random_tensor(
            (2,), bitlength=3, generator=stock_generator
        ),
    }
    found = {}
    for name, attempt in tries.items():
        try:
            attempt()
            found[name] = "done"
        except Refused as error:
            found[name] = error.code
    generators = {name: [type(g) for g in devices.values()] for name, devices in crypten.generators.items()}
    beaver, rss = _module("mpc.primitives.beaver"), _module("mpc.primitives.replicated")
    same = (
        engine.open(beaver.mul(x, x).share.numpy().view("u8")),
        engine.open(rss.mul(x, x).share.numpy().view("u8")),
    )
    engine.close()
    return found, generators, [s.tolist() for s in same]


def test_nothing_stock_can_be_used(committee: Committee):
    for found, generators, same in committee.play(use_stock):
        assert set(found.values()) == {"mpc.stock_part"}, found
        assert generators == {"prev": [Stream], "next": [Stream], "local": [Stream], "global": []}
        assert same == [[81, 144, 225]] * 2  # three members share 3, 4, 5 each: whichever protocol is named


def clone_generator(links: Links, seat: Seat):
    engine = seam.start(links)
    generators = seam.load().crypten.generators
    found = []
    for name in ("prev", "next", "local"):
        (stream,) = generators[name].values()
        found.append(
            [hasattr(stream, part) for part in ("get_state", "set_state", "manual_seed", "clone_state")]
        )
        try:
            torch.Generator().set_state(stream)
            found.append("cloned")
        except TypeError:
            pass
    mine = engine.zero(4).tolist(), generators["next"][torch.device("cpu")].words(2).tolist()
    engine.close()
    return found, mine


def test_cloning_a_stock_generator_predicts_it_and_ours_has_no_state_to_clone(committee: Committee):
    victim, thief, guess = torch.Generator(), torch.Generator(), torch.Generator()
    victim.manual_seed(0x1234_5678_9ABC_DEF0)
    thief.set_state(victim.get_state())
    guess.manual_seed(0x9ABC_DEF0)  # 32 bits are enough: 2^32 guesses
    streams = [torch.randint(2**62, (9,), generator=g).tolist() for g in (victim, thief, guess)]
    assert streams[0] == streams[1] == streams[2]
    found = committee.play(clone_generator)
    for states, _ in found:
        assert states == [[False] * 4] * 3
    assert len({str(mine) for _, mine in found}) == 3
    again = committee.play(clone_generator)
    assert not {str(mine) for _, mine in found} & {str(mine) for _, mine in again}


def test_without_tls_links_there_is_no_engine():
    with pytest.raises(Refused) as e:
        seam.start(object())  # type: ignore[arg-type]
    assert e.value.code == "mpc.plaintext_link"


def start_twice(links: Links, seat: Seat):
    seam.start(links)
    with pytest.raises(Misuse) as e:
        seam.start(links)
    return e.value.code  # and not raised: whoever raises hangs up on peers that are still at their first


def test_one_engine_in_a_process(committee: Committee):
    assert committee.play(start_twice) == ["mpc.started"] * 3


def test_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(seam, "VERSION", "0.4.0")
    with pytest.raises(Misuse) as e:
        seam.load.__wrapped__()
    assert e.value.code == "mpc.version"


def compare_while_a_peer_is_silent(links: Links, seat: Seat):
    """CrypTen computes again after a RuntimeError; ours must come through at once."""
    engine = seam.start(links)
    links.barrier()
    if seat.rank == 2:
        import time

        time.sleep(5)
        return
    links.timeout_s = 1.5
    engine.negative(engine.zero(10))
    return


def test_a_silent_peer_in_a_comparison_is_an_error_of_ours(committee: Committee):
    with committee.started(compare_while_a_peer_is_silent) as jobs:
        found = []
        for job in jobs[:2]:
            with pytest.raises(Exception, match="member") as e:
                job.result(20)
            found.append(e.value.code)
    assert set(found) <= {"mpc.silent_peer", "mpc.peer_lost"}
    assert "mpc.silent_peer" in found


def test_the_communicator_opens_sums_and_nothing_else():
    comm = communicator.MeshCommunicator(0, replicated.Replicated.__new__(replicated.Replicated))
    assert (comm.get_rank(), comm.get_world_size()) == (0, 3)
    with pytest.raises(Refused):
        comm.broadcast_obj({}, 0)
    with pytest.raises(Misuse):
        comm.all_reduce(torch.zeros(3))
    with pytest.raises(Misuse):
        comm.all_reduce(torch.zeros(3, dtype=torch.int64), torch.distributed.ReduceOp.MAX)
    with pytest.raises(Misuse):
        communicator.MeshCommunicator.get()
