"""What the proof of upgrades makes of this code: next releases, good ones and a bad one."""

import pytest

from tests.proof.upgrade.releases import BAD, NEXT, PLAIN, Edit, Release


@pytest.mark.parametrize("release", [PLAIN, NEXT, BAD], ids=lambda release: release.name)
def test_every_release_can_be_made(release: Release):
    """Each edit finds its line once; otherwise edit tests/proof/upgrade/releases.py along with the code."""
    for file, text in release.files():
        compile(text, file, "exec")


def test_only_one_of_them_is_guarded():
    """The same steps stand in the workflows of both."""
    texts = {release.name: "".join(text for _, text in release.files()) for release in (NEXT, BAD)}
    assert texts["next"].count("workflow.patched(") == texts["bad"].count("if True:") == 4
    assert "patched" not in texts["bad"]


def test_an_edit_that_finds_no_place_says_where():
    """So that whoever changed the line knows what else to change."""
    with pytest.raises(ValueError, match=r"two\.py has 2 lines 'x = 1': edit .*releases\.py"):
        Edit("two.py", "x = 1", ("y = 2",)).made("x = 1\n    x = 1\n")
