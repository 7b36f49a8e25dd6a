"""Histories that were lived through once, and must lead to the same commands for as long as any may be open.

Each release has a file of its own, `<release>.jsonl.gz`: a story's name, its workflow, and the history as
Temporal keeps it, decrypted, with made-up people only and ids that say nothing. `test_corpus.py` replays all.

When it fails, the workflow named would get stuck on every order that is open while the new code is deployed:

- It was meant, and orders are out that began with the old code: branch with `workflow.patched("what")`, or
  deploy as another version (`TANDEM_DEPLOYMENT_NAME`, PINNED), so that they finish on the code they know.
- It was meant, and no release has the old code yet: `python -m tests.proof.corpus record`, and commit.
- It was not meant: the change made a replay depend on what is not in the history.

`record` writes the file of this version anew; it says which stories now lead to other commands than before. A
file of an earlier release is never written again.
"""
