"""Other people's programs: how tests end what they started."""

from __future__ import annotations

import asyncio
import os
import signal


async def stop(process: asyncio.subprocess.Process, seconds: float) -> None:
    """Ask a process to end, and end its whole group when it does not in time. It leads a group of its own."""
    try:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
