"""`python -m xmppws` is the `xmppws` command."""

import sys

from xmppws.cli.main import main

sys.exit(main())
