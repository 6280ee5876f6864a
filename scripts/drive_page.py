"""Drive the server's page with Chromium, and report what a visitor sees.

    PYTHONPATH=src python scripts/drive_page.py --output /tmp/page

Needs Debian's chromium, ffmpeg, and the packages playwright and axe-playwright-python. Writes
screenshots and page.json.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserType, Page, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
PORT = 8790
SAMPLE = Path(__file__).parents[1] / "src/co3d/assets/sample.mp4"
CAMERAS = {"door": 8795, "yard": 8796}
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 860}
PAGE_LIMIT_BYTES = 200_000


@contextmanager
def run_server(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server; the process and the address of an operator."""
    command = [sys.executable, "-m", "co3d", "serve", *arguments, "--port", str(PORT)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = ""
    while "#token=" not in address:
        line = process.stdout.readline()
        assert line, "the server ended"
        address = line.rpartition(" ")[2].strip()
    try:
        yield process, address
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def make_fake_camera(folder: Path) -> Path:
    """The sample as Chromium's fake camera reads it."""
    path = folder / "camera.mjpeg"
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(SAMPLE), "-t", "12"]
    subprocess.run([*command, "-vf", "scale=640:360", "-q:v", "4", str(path)], check=True)
    return path


@contextmanager
def send_cameras() -> Iterator[None]:
    """Send the sample over and over, as two cameras do."""
    command = ["ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(SAMPLE)]
    command += ["-c", "copy", "-f", "mpegts"]
    senders = [
        subprocess.Popen([*command, f"udp://127.0.0.1:{port}?pkt_size=1316"])
        for port in CAMERAS.values()
    ]
    try:
        yield
    finally:
        for sender in senders:
            sender.kill()
            sender.wait()


def write_fleet(folder: Path) -> Path:
    """Two cameras, and a rule that makes events of what they show."""
    rule = {
        "name": "moves",
        "labels": ["pan left", "pan right", "zoom in", "zoom out"],
        "min_seconds": 0.3,
        "clip": {"before_seconds": 1, "after_seconds": 1},
    }
    cameras = [
        {"name": name, "source": f"udp://127.0.0.1:{port}"} for name, port in CAMERAS.items()
    ]
    cameras.append({"name": "hall", "source": "rtsp://user:secret@127.0.0.1:9/x"})
    fleet = {"cameras": cameras, "rules": [rule], "events": {"folder": str(folder / "events")}}
    path = folder / "fleet.yaml"
    path.write_text(json.dumps(fleet))
    return path


def launch(kind: BrowserType, camera: Path) -> Browser:
    """A browser with a fake camera."""
    arguments = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    arguments += [f"--use-file-for-fake-video-capture={camera}", "--no-sandbox"]
    return kind.launch(executable_path=CHROMIUM, args=arguments)


def open_page(browser: Browser, url: str, viewport: dict[str, int], scheme: str = "light") -> Page:
    """A page in a context of its own."""
    context = browser.new_context(
        viewport=viewport,  # type: ignore[arg-type]
        color_scheme=scheme,  # type: ignore[arg-type]
        permissions=["camera"],
    )
    page = context.new_page()
    page.on("pageerror", lambda error: sys.exit(f"error in the page: {error}"))
    page.goto(url)
    page.wait_for_selector("h1")
    return page


def check_accessibility(page: Page) -> list[str]:
    """Serious faults that axe-core finds."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['help']}" for one in found if one["impact"] in ("serious", "critical")
    ]


def weigh(page: Page, url: str) -> int:
    """Bytes that the page takes, without video."""
    sizes: list[int] = []

    def count(response: Any) -> None:
        if "video" not in response.headers.get("content-type", ""):
            sizes.append(len(response.body()))

    page.on("response", count)
    page.goto(url)
    page.wait_for_selector("h1")
    page.wait_for_timeout(500)
    page.remove_listener("response", count)
    return sum(sizes)


def label_camera(browser: Browser, url: str, transport: str, output: Path) -> dict[str, Any]:
    """Label the fake camera by one transport."""
    page = open_page(browser, f"{url}live?transport={transport}", DESK)
    page.get_by_role("button", name="Use my camera").click()
    page.wait_for_selector("main[data-first-label-ms]", timeout=20_000)
    page.wait_for_timeout(4000)
    main = page.locator("main")
    figures = dict(
        zip(
            page.locator("dt").all_text_contents(),
            page.locator("dd").all_text_contents(),
            strict=True,
        )
    )
    result = {
        "first_label_ms": int(main.get_attribute("data-first-label-ms") or 0),
        "transport": main.get_attribute("data-transport"),
        "figures": figures,
        "accessibility": check_accessibility(page),
    }
    page.screenshot(path=str(output / f"live_{transport}.png"), full_page=True)
    page.context.close()
    return result


def count_visitors(url: str) -> float:
    """How many there are, by the server's metrics."""
    import urllib.request

    with urllib.request.urlopen(f"{url}metrics") as answer:
        found = re.search(r"^co3d_visitors (\S+)", answer.read().decode(), re.MULTILINE)
    assert found is not None
    return float(found[1])


def wait_for_no_visitor(url: str) -> float:
    """Seconds until no visitor is left."""
    began = time.monotonic()
    while count_visitors(url) and time.monotonic() - began < 30:
        time.sleep(0.1)
    return time.monotonic() - began


def list_descendants(process: int) -> set[int]:
    """Its children, and theirs."""
    children: set[int] = set()
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        children |= {int(child) for child in task.read_text().split()}
    return children.union(*(list_descendants(child) for child in children))


def kill_browser(kind: BrowserType, camera: Path, url: str, transport: str) -> float:
    """Kill a browser whose camera is labelled; seconds until its place is free."""
    before = list_descendants(os.getpid())
    page = open_page(launch(kind, camera), f"{url}live?transport={transport}", DESK)
    page.get_by_role("button", name="Use my camera").click()
    page.wait_for_selector("main[data-first-label-ms]", timeout=20_000)
    assert count_visitors(url) == 1
    for victim in list_descendants(os.getpid()) - before:
        if b"chrom" in Path(f"/proc/{victim}/cmdline").read_bytes():
            os.kill(victim, signal.SIGKILL)
    return wait_for_no_visitor(url)


def drive(browser: Browser, camera: Path, output: Path) -> dict[str, Any]:
    """Everything; what came out."""
    report: dict[str, Any] = {"transports": {}, "killed_browser_freed_seconds": {}}
    fleet = write_fleet(output)
    with run_server(str(fleet), "--allow-source", "rtsp://127.0.0.0/8") as (process, address):
        url = address.partition("#")[0]
        report["page_bytes"] = weigh(open_page(browser, url, DESK), url)
        assert report["page_bytes"] <= PAGE_LIMIT_BYTES, report["page_bytes"]
        for transport in ("webrtc", "webcodecs", "jpeg"):
            report["transports"][transport] = label_camera(browser, url, transport, output)
            report["transports"][transport]["freed_seconds"] = wait_for_no_visitor(url)
            report["killed_browser_freed_seconds"][transport] = kill_browser(
                browser.browser_type, camera, url, transport
            )
        report |= look_around(browser, address, output)
        report["restart"] = restart(browser, url, process, fleet)
    return report


def look_around(browser: Browser, address: str, output: Path) -> dict[str, Any]:
    """The wall, a camera, adding and removing, by mouse, keyboard and phone."""
    url = address.partition("#")[0]
    report: dict[str, Any] = {"accessibility": {}}
    page = open_page(browser, address, DESK)
    expect(page.get_by_role("link", name="door")).to_be_visible()
    page.wait_for_selector(".tile img:not([hidden])")
    page.wait_for_timeout(2500)
    page.screenshot(path=str(output / "wall.png"), full_page=True)
    report["accessibility"]["wall"] = check_accessibility(page)
    page.get_by_role("button", name="Add a camera").click()
    page.get_by_label("Name").fill("gate")
    page.get_by_label("Address").fill("rtsp://me:secret@10.0.0.1/x")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("no network that is allowed")
    report["accessibility"]["dialog"] = check_accessibility(page)
    page.get_by_label("Address").fill("rtsp://me:secret@127.0.0.1:9/x")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("link", name="gate")).to_be_visible()
    page.get_by_role("link", name="gate").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="gate")).to_be_visible()
    assert "secret" not in page.content()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", name="Cameras")).to_be_visible()
    expect(page.get_by_role("link", name="gate")).to_have_count(0)
    page.goto(f"{url}streams/door")
    page.wait_for_selector(".screen img:not([hidden])")
    page.wait_for_timeout(2500)
    report["accessibility"]["camera"] = check_accessibility(page)
    page.screenshot(path=str(output / "camera.png"), full_page=True)
    page.get_by_role("link", name="Events").click()
    page.wait_for_selector("article img")
    page.wait_for_timeout(1000)
    report["accessibility"]["events"] = check_accessibility(page)
    report["events"] = page.locator("article").count()
    page.screenshot(path=str(output / "events.png"), full_page=True)
    page.goto(f"{url}streams/door")
    page.get_by_role("button", name="Sign out operator").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    expect(page.get_by_role("button", name="Pause")).to_be_hidden()
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("dialog").get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("no such token")
    page.context.close()
    for name, viewport, scheme in (("dark", DESK, "dark"), ("phone", PHONE, "dark")):
        page = open_page(browser, url, viewport, scheme)
        page.wait_for_timeout(1500)
        report["accessibility"][name] = check_accessibility(page)
        page.screenshot(path=str(output / f"wall_{name}.png"), full_page=True)
        page.goto(f"{url}live")
        page.get_by_role("button", name="Play the sample").click()
        page.wait_for_selector("main[data-first-label-ms]", timeout=20_000)
        page.wait_for_timeout(3000)
        page.screenshot(path=str(output / f"live_{name}.png"), full_page=True)
        report["accessibility"][f"live {name}"] = check_accessibility(page)
        page.context.close()
    return report


def restart(
    browser: Browser, url: str, process: subprocess.Popen[str], fleet: Path
) -> dict[str, float]:
    """Kill the server under a visitor, start another one; seconds until the next label."""
    page = open_page(browser, f"{url}live?transport=jpeg", DESK)
    page.get_by_role("button", name="Use my camera").click()
    page.wait_for_selector("main[data-first-label-ms]", timeout=20_000)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    expect(page.get_by_role("status").first).to_contain_text("reconnecting", timeout=10_000)
    with run_server(str(fleet)):
        began = time.monotonic()
        expect(page.get_by_role("status").first).to_contain_text("live", timeout=20_000)
        seconds = time.monotonic() - began
    page.context.close()
    return {"label_after_start_seconds": seconds}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    camera = make_fake_camera(output)
    with sync_playwright() as playwright:
        browser = launch(playwright.chromium, camera)
        with send_cameras():
            report = drive(browser, camera, output)
        browser.close()
    (output / "page.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
