"""`co3d docs` opens pages of the site that came with an install."""

import webbrowser

import pytest

from co3d.cli import site


@pytest.fixture
def pages(tmp_path, monkeypatch):
    for name in ("index", "own_network", "results/bench", "genindex"):
        path = tmp_path / "site" / f"{name}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setattr(site, "PLACES", (tmp_path / "absent", tmp_path / "site"))
    return tmp_path / "site"


@pytest.mark.parametrize(
    ("arguments", "page"),
    [([], "index"), (["own_network"], "own_network"), (["results/bench"], "results/bench")],
)
def test_a_page_is_opened_in_the_browser(co3d, pages, monkeypatch, arguments, page):
    opened = []
    monkeypatch.setattr(webbrowser, "open_new_tab", lambda address: not opened.append(address))
    outcome = co3d("docs", *arguments)
    address = (pages / f"{page}.html").as_uri()
    assert (outcome.code, outcome.out, opened) == (0, f"{address}\n", [address])


def test_its_address_alone_is_printed_on_request(co3d, pages, monkeypatch):
    monkeypatch.setattr(webbrowser, "open_new_tab", lambda _: pytest.fail("a browser was opened"))
    assert co3d("docs", "--print").out == f"{(pages / 'index.html').as_uri()}\n"


def test_without_a_browser_it_says_what_to_do(co3d, pages, monkeypatch):
    monkeypatch.setattr(webbrowser, "open_new_tab", lambda _: False)
    outcome = co3d("docs")
    assert (outcome.code, "open the address above" in outcome.err) == (0, True)


def test_an_unknown_page_names_those_that_are_like_it(co3d, pages):
    outcome = co3d("docs", "own_networks")
    assert "cannot show 'own_networks': expected a page, own_network for example" in outcome.err


def test_an_install_without_it_says_how_to_get_it(co3d, tmp_path, monkeypatch):
    monkeypatch.setattr(site, "PLACES", (tmp_path,))
    outcome = co3d("docs")
    assert outcome.code
    assert "this install has none" in outcome.err
