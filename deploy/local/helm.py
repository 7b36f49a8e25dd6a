"""Where Helm is, which renders the Kubernetes chart."""

import os
import shutil

from deploy.local.child import StartError
from deploy.local.state import cache_folder


def binary() -> str:
    """The program TANDEM_HELM names, one on the path, or the one .ci/run built. Raises StartError."""
    for candidate in (os.environ.get("TANDEM_HELM"), "helm", cache_folder() / "bin" / "helm"):
        found = shutil.which(candidate) if candidate else None
        if found:
            return found
    raise StartError(
        "there is no helm",
        "install Helm 3 or name it in TANDEM_HELM; with Go, .ci/run builds it",
    )
