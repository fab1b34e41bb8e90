"""A page stands in a frame, whole."""

from html.parser import HTMLParser

from imettk.notebook.page import Page


def test_a_browser_reads_the_page_back_from_the_frame(tmp_path):
    text = "<!doctype html><title>a \"run\" & more</title><p title='x'>é"
    (tmp_path / "report.html").write_text(text, encoding="utf-8")
    read = {}

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            read[tag] = dict(attrs)

    page = Page(tmp_path / "report.html")
    Reader().feed(page._repr_html_())
    assert list(read) == ["iframe"] and read["iframe"]["srcdoc"] == text
    assert repr(page) == f"{page.path}: open it in a browser"
