"""From one consortium.toml to one kit per organisation: certificates, keys, configuration, a page to begin with."""

from deploy.provision.config import Consortium
from deploy.provision.kits import provision
from deploy.provision.renewal import renew, revoke

__all__ = ["Consortium", "provision", "renew", "revoke"]
