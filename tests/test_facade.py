"""The background loop behind the plain names: results, errors, interrupts, threads and the end of the process."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from starskope.transfer.facade import run_sync

VARIABLE: contextvars.ContextVar[int] = contextvars.ContextVar("VARIABLE", default=0)


def test_it_returns_and_raises_what_the_coroutine_does() -> None:
    async def fail() -> None:
        raise LookupError("no such star")

    assert run_sync(asyncio.sleep(0, result=41)) == 41
    with pytest.raises(LookupError, match="no such star"):
        run_sync(fail())
    assert run_sync(asyncio.sleep(0, result=42)) == 42


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
def test_errors_that_would_end_a_loop_reach_the_caller_and_spare_the_loop(error: BaseException) -> None:
    async def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        run_sync(fail())
    assert run_sync(asyncio.sleep(0, result=1)) == 1


def test_it_works_inside_a_running_loop_as_in_jupyter() -> None:
    async def cell() -> int:
        return run_sync(asyncio.sleep(0.01, result=5))

    assert asyncio.run(cell()) == 5


def test_every_caller_shares_one_thread() -> None:
    async def name() -> str:
        await asyncio.sleep(0.01)
        return threading.current_thread().name

    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(lambda _: run_sync(name()), range(32)))
    assert names == {"starskope-io"}
    assert [thread.name for thread in threading.enumerate()].count("starskope-io") == 1


def test_context_variables_are_seen() -> None:
    async def read() -> int:
        return VARIABLE.get()

    token = VARIABLE.set(9)
    try:
        assert run_sync(read()) == 9
    finally:
        VARIABLE.reset(token)


def test_from_its_own_loop_it_refuses_instead_of_waiting_for_ever() -> None:
    async def inner() -> None:
        run_sync(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="await the _async twin"):
        run_sync(inner())


def test_it_wants_a_coroutine() -> None:
    with pytest.raises(TypeError, match="needs a coroutine, got int"):
        run_sync(3)  # type: ignore[arg-type]


def test_an_interrupt_cancels_and_waits_for_the_cleanup() -> None:
    started = threading.Event()
    steps: list[str] = []

    async def long_work() -> None:
        try:
            started.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.2)
            steps.append("cleaned up")
            raise

    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        started.wait(10)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_sync(long_work())
    thread.join()
    assert steps == ["cleaned up"]
    assert time.monotonic() - begun < 10
    assert run_sync(asyncio.sleep(0, result=1)) == 1


# An interrupt between the making of a coroutine and the call that takes it is beyond anybody's reach.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_an_interrupt_at_any_moment_ends_the_wait_and_spares_the_loop() -> None:
    main = threading.main_thread().ident
    assert main is not None
    n_seen = 0
    for delay_us in range(0, 2000, 50):
        thread = threading.Timer(delay_us / 1e6, signal.pthread_kill, (main, signal.SIGINT))
        try:
            thread.start()
            until = time.monotonic() + 2.0
            while time.monotonic() < until:
                run_sync(asyncio.sleep(0.0005))
        except KeyboardInterrupt:
            n_seen += 1
        thread.join()
    # The interpreter drops an interrupt that lands in a finalizer; all others must come through.
    assert n_seen >= 36
    assert run_sync(asyncio.sleep(0, result=1)) == 1


def _python(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_importing_starts_no_thread_and_leaving_is_silent() -> None:
    code = """
import asyncio, threading
from starskope.transfer import facade
assert threading.active_count() == 1, threading.enumerate()
async def work():
    await asyncio.to_thread(print, "done")
    asyncio.get_running_loop().create_task(asyncio.sleep(60))
facade.run_sync(work())
"""
    result = _python(code)
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")


def test_a_forked_child_gets_a_loop_of_its_own() -> None:
    code = """
import asyncio, os, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork beside a thread
from starskope.transfer.facade import run_sync
assert run_sync(asyncio.sleep(0, result=1)) == 1
child = os.fork()
if child == 0:
    os._exit(0 if run_sync(asyncio.sleep(0.01, result=2)) == 2 else 1)
assert os.waitpid(child, 0)[1] == 0
assert run_sync(asyncio.sleep(0.01, result=3)) == 3
print("both")
"""
    result = _python(code)
    assert (result.returncode, result.stdout, result.stderr) == (0, "both\n", "")
