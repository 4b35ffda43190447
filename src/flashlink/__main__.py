"""``python -m flashlink`` is ``flashlink``."""

from flashlink.cli import main

raise SystemExit(main())
