"""`python -m vtc_flows` is `vtc`."""

from __future__ import annotations

from vtc_flows.cli import main

if __name__ == "__main__":
    main(prog_name="vtc")
