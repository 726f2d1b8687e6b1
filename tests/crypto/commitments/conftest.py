import pytest

from crypto.commitments import Generators
from crypto.commitments.arkworks import Arkworks
from crypto.commitments.blst import Blst


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("generators")


@pytest.fixture(scope="session")
def generators(cache):
    return Generators.load(1, cache)


@pytest.fixture(params=[Blst, Arkworks], ids=["blst", "arkworks"], scope="session")
def library(request):
    return request.param()
