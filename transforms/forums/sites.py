"""The sites of Stack Exchange: what a dump's files say about which one they are of."""

import re
from typing import NamedTuple

_NAMES = {
    "math.stackexchange.com": "Math Stack Exchange",
    "mathoverflow.net": "MathOverflow",
    "stackoverflow.com": "Stack Overflow",
    "serverfault.com": "Server Fault",
    "superuser.com": "Super User",
    "askubuntu.com": "Ask Ubuntu",
    "stackapps.com": "Stack Apps",
}
_SHORT = {host.rpartition(".")[0]: host for host in _NAMES if host.count(".") == 1}
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.(com|net|org)")
_POSTS = re.compile(r"(?:(?P<site>[\w.-]*?)[.-])?Posts\.xml")


class Site(NamedTuple):
    """A site: the host of its pages, its name, and its kind: `main`, or `meta`, about another."""

    host: str
    name: str
    kind: str

    @property
    def url(self) -> str:
        """Where its pages are."""
        return f"https://{self.host}"


def site_of(written: str) -> Site:
    """The site that a host or the short name of one means: `math` is math.stackexchange.com."""
    host = written.lower()
    if not _HOST.fullmatch(host):
        host = _SHORT.get(host, f"{host}.stackexchange.com")
    is_meta = "meta" in host.split(".")
    name = _NAMES.get(host) or " ".join(
        part.title() for part in re.split(r"[.-]", host.removesuffix(".stackexchange.com")) if part
    )
    if host.endswith(".stackexchange.com") and host not in _NAMES:
        name += " Stack Exchange"
    return Site(host, name, "meta" if is_meta else "main")


def site_of_path(path: str) -> Site | None:
    """The site of a file with posts; None where its path does not say, or it is no such file.

    coffee.Posts.xml, math.stackexchange.com-Posts.xml    before the name
    math.stackexchange.com/Posts.xml                      the folder, if it is called by a host
    """
    folder, _, name = path.replace("\\", "/").rpartition("/")
    found = _POSTS.fullmatch(name)
    if found is None:
        return None
    if found["site"]:
        return site_of(found["site"])
    last = folder.rpartition("/")[2].lower()
    return site_of(last) if _HOST.fullmatch(last) else None


def is_posts(path: str) -> bool:
    """Whether a file is called as one with posts is."""
    return _POSTS.fullmatch(path.replace("\\", "/").rpartition("/")[2]) is not None
