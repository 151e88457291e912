"""
A small Hub on loopback for the tests: the parts of the Hub's HTTP protocol that `huggingface_hub` asks for.

Repos with commits, branches and tags, regular and LFS files (basic and multipart), private repos and tokens. No server
on PyPI speaks this protocol by itself: `hf-local-hub` comes without its binary, `olah` only mirrors the real Hub. Xet
is left out, as in other servers than the Hub's own: clients set `HF_HUB_DISABLE_XET=1`.
"""

import base64
import hashlib
import json
import math
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

LFS_PATTERNS = ("*.safetensors", "*.bin", "*.gguf", "*.parquet", "*.png")
ORGANIZATION = "org"  # that every user belongs to
DATE = "2026-01-01T00:00:00.000Z"


@dataclass
class File:
    """A file of a commit; `oid` is its git hash, or the SHA-256 of an LFS file."""

    content: bytes
    lfs: bool

    @property
    def oid(self) -> str:
        if self.lfs:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()

    def entry(self, path: str) -> dict[str, Any]:
        entry = {"type": "file", "path": path, "size": len(self.content), "oid": self.oid[:40]}
        lfs = {"oid": self.oid, "size": len(self.content), "pointerSize": 130}
        return entry | ({"lfs": lfs} if self.lfs else {})


@dataclass
class Repo:
    """Commits are files by path; refs are commits by name."""

    private: bool
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)  # commit, summary
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def find(self, revision: str) -> str | None:
        named = self.branches.get(revision) or self.tags.get(revision)
        return named or (revision if revision in self.commits else None)

    def commit(self, branch: str, files: dict[str, File], summary: str) -> str:
        content = [self.branches.get(branch), summary, {path: file.oid for path, file in files.items()}]
        commit = hashlib.sha1(json.dumps(content, sort_keys=True).encode()).hexdigest()
        self.commits[commit] = files
        self.log.append((commit, summary))
        self.branches[branch] = commit
        return commit


class HubError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class HubServer(ThreadingHTTPServer):
    """
    The server; it runs in a thread of its own.

    Attributes:
        tokens (`dict[str, str]`): users by token; each may write to their own namespace and to `org`.
        requests (`list[tuple[str, str]]`): method and path of all requests.
        cut_uploads (`list[int]`): bytes after which each of the next LFS uploads is cut off.
        cut_downloads (`list[int]`): the same for downloads.
        chunk_size (`int`, *optional*): LFS files above it are uploaded in parts.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.RLock()
        self.clear()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def clear(self) -> None:
        """Forgets all repos and faults."""
        self.tokens = {"hf_alice": "alice", "hf_bob": "bob"}
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, bytes] = {}  # LFS files by SHA-256
        self.parts: dict[str, dict[int, bytes]] = {}
        self.requests: list[tuple[str, str]] = []
        self.cut_uploads: list[int] = []
        self.cut_downloads: list[int] = []
        self.chunk_size: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def environment(self, cache: object, token: str | None = "hf_alice", **variables: str) -> dict[str, str]:
        """Variables for a process whose Hub is this one."""
        own = {"HF_ENDPOINT": self.url, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1",
               "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}  # fmt: skip
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))}
        return kept | own | ({} if token is None else {"HF_TOKEN": token}) | variables

    def files(self, repo_id: str, revision: str = "main", kind: str = "models") -> dict[str, bytes]:
        """Contents by path."""
        repo = self.repos[kind, repo_id]
        return {path: file.content for path, file in repo.commits[repo.find(revision)].items()}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""


ROUTES: list[tuple[str, re.Pattern[str], Callable]] = []
REPO = r"(?P<kind>models|datasets|spaces)/(?P<repo_id>[^/]+/[^/]+)"


def route(method: str, path: str) -> Callable[[Callable], Callable]:
    def register(function: Callable) -> Callable:
        ROUTES.append((method, re.compile(path), function))
        return function

    return register


class Handler(BaseHTTPRequestHandler):
    """One request: finds its route, checks the token, answers in JSON or with a file."""

    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps quiet."""

    def answer(self) -> None:
        parts = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.content: bytes | None = None
        method = "GET" if self.command == "HEAD" else self.command
        self.server.requests.append((self.command, unquote(parts.path)))
        try:
            self.user = self.read_user()
            for wanted, pattern, function in ROUTES:
                found = pattern.fullmatch(parts.path)
                if found and wanted == method:
                    arguments = {name: unquote(value or "") for name, value in found.groupdict().items()}
                    result = function(self, **arguments)
                    return None if result is None else self.send(200, json.dumps(result).encode())
            raise HubError(404, f"There is no {method} {parts.path}.")
        except HubError as error:
            self.body()  # what of the request is unread, so that the connection can be used again
            headers = {"X-Error-Message": str(error)} | ({"X-Error-Code": error.code} if error.code else {})
            self.send(error.status, json.dumps({"error": str(error)}).encode(), headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(content))}
                            | (headers or {})).items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def read_user(self) -> str | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.server.tokens:
            raise HubError(401, "Invalid credentials in Authorization header")
        return self.server.tokens.get(token)

    def body(self) -> bytes:
        """The request's content; cut off where a test wants it."""
        if self.content is None:
            self.content = self.read_body()
        return self.content

    def read_body(self) -> bytes:
        cut = self.server.cut_uploads.pop(0) if self.command == "PUT" and self.server.cut_uploads else None
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            pieces, size = [], -1
            while size and (cut is None or sum(map(len, pieces)) < cut):
                size = int(self.rfile.readline(), 16)
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            content = b"".join(pieces)
        else:
            length = int(self.headers.get("Content-Length", 0))
            content = self.rfile.read(length if cut is None else min(cut, length))
        if cut is not None:
            self.hang_up()
        return content

    def hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.close()
        raise ConnectionAbortedError("as the test wants it")

    def json(self) -> dict[str, Any]:
        return json.loads(self.body() or b"{}")

    def repo(self, kind: str, repo_id: str, write: bool = False) -> Repo:
        repo = self.server.repos.get((kind, repo_id))
        allowed = self.user is not None and repo_id.split("/")[0] in (self.user, ORGANIZATION)
        if repo is None or (repo.private and not allowed):
            raise HubError(401 if self.user is None else 404, "Repository not found", "RepoNotFound")
        if write and not allowed:
            raise HubError(401 if self.user is None else 403, "You may not write to this repo.")
        return repo

    def files(self, repo: Repo, revision: str) -> tuple[str, dict[str, File]]:
        commit = repo.find(revision)
        if commit is None:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit, repo.commits[commit]


# Accounts and repos


@route("GET", "/api/whoami-v2")
def whoami(ask: Handler) -> dict[str, Any]:
    if ask.user is None:
        raise HubError(401, "Invalid username or password.")
    return {"type": "user", "name": ask.user, "orgs": [{"name": ORGANIZATION}]}


@route("POST", "/api/repos/create")
def create_repo(ask: Handler) -> dict[str, Any] | None:
    wanted = ask.json()
    if ask.user is None:
        raise HubError(401, "Invalid username or password.")
    owner = wanted.get("organization") or ask.user
    if owner not in (ask.user, ORGANIZATION):
        raise HubError(403, f"You may not create a repo under {owner}.")
    kind, repo_id = f"{wanted.get('type') or 'model'}s", f"{owner}/{wanted['name']}"
    prefix = "" if kind == "models" else f"{kind}/"
    answer = {"url": f"{ask.server.url}/{prefix}{repo_id}", "name": repo_id}
    if (kind, repo_id) in ask.server.repos:
        ask.send(409, json.dumps(answer | {"error": "You already created this repo"}).encode())
        return None
    repo = ask.server.repos[kind, repo_id] = Repo(wanted.get("visibility") == "private")
    attributes = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LFS_PATTERNS)
    repo.commit("main", {".gitattributes": File(attributes.encode(), False)}, "initial commit")
    return answer


@route("DELETE", "/api/repos/delete")
def delete_repo(ask: Handler) -> dict[str, Any]:
    wanted = ask.json()
    key = f"{wanted.get('type') or 'model'}s", f"{wanted.get('organization') or ask.user}/{wanted['name']}"
    ask.repo(*key, write=True)
    del ask.server.repos[key]
    return {}


@route("GET", f"/api/{REPO}(/revision/(?P<revision>[^/]+))?")
def info(ask: Handler, kind: str, repo_id: str, revision: str) -> dict[str, Any]:
    repo = ask.repo(kind, repo_id)
    commit, files = ask.files(repo, revision or "main")
    card = re.match(rb"---\n(.*?)\n---", files["README.md"].content, re.DOTALL) if "README.md" in files else None
    data = yaml.safe_load(card[1]) if card else {}
    siblings = [{"rfilename": path, "size": len(file.content), "blobId": file.oid[:40]}
                for path, file in files.items()]  # fmt: skip
    return {"_id": "0", "id": repo_id, "author": repo_id.split("/")[0], "sha": commit, "private": repo.private,
            "gated": False, "disabled": False, "downloads": 0, "likes": 0, "lastModified": DATE, "createdAt": DATE,
            "tags": data.get("tags", []), "pipeline_tag": data.get("pipeline_tag"), "siblings": siblings,
            "library_name": data.get("library_name"), "cardData": data}  # fmt: skip


@route("GET", f"/api/{REPO}/refs")
def refs(ask: Handler, kind: str, repo_id: str) -> dict[str, Any]:
    repo = ask.repo(kind, repo_id)
    named = lambda part, refs: [{"name": n, "ref": f"refs/{part}/{n}", "targetCommit": c} for n, c in refs.items()]  # noqa: E731
    return {"branches": named("heads", repo.branches), "tags": named("tags", repo.tags), "converts": []}


@route("GET", f"/api/{REPO}/commits/(?P<revision>[^/]+)")
def commits(ask: Handler, kind: str, repo_id: str, revision: str) -> list[dict[str, Any]]:
    repo = ask.repo(kind, repo_id)
    ask.files(repo, revision)
    return [{"id": commit, "title": title, "message": "", "authors": [], "date": DATE}
            for commit, title in reversed(repo.log)]  # fmt: skip


@route("POST", f"/api/{REPO}/(?P<part>branch|tag)/(?P<name>[^/]+)")
def create_ref(ask: Handler, kind: str, repo_id: str, part: str, name: str) -> dict[str, Any]:
    repo, wanted = ask.repo(kind, repo_id, write=True), ask.json()
    if part == "branch":
        refs, start = repo.branches, wanted.get("startingPoint", "main")
    else:  # the path names what is tagged
        refs, start, name = repo.tags, name, wanted["tag"]
    if name in refs:
        raise HubError(409, f"Reference already exists: {name}")
    refs[name] = ask.files(repo, start)[0]
    return {}


@route("DELETE", f"/api/{REPO}/(?P<part>branch|tag)/(?P<name>[^/]+)")
def delete_ref(ask: Handler, kind: str, repo_id: str, part: str, name: str) -> dict[str, Any]:
    repo = ask.repo(kind, repo_id, write=True)
    refs = repo.branches if part == "branch" else repo.tags
    if name not in refs:
        raise HubError(404, f"Invalid rev id: {name}", "RevisionNotFound")
    del refs[name]
    return {}


# Uploads


@route("POST", "/api/validate-yaml")
def validate_yaml(ask: Handler) -> dict[str, Any]:
    text = ask.json()["content"]
    card = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    try:
        yaml.safe_load(card[1] if card else "")
    except yaml.YAMLError as error:
        raise HubError(400, f"Invalid metadata in README.md: {error}") from None
    return {"errors": [], "warnings": []}


@route("POST", f"/api/{REPO}/preupload/(?P<revision>[^/]+)")
def preupload(ask: Handler, kind: str, repo_id: str, revision: str) -> dict[str, Any]:
    wanted = ask.json()
    _, files = ask.files(ask.repo(kind, repo_id, write=True), revision)
    return {"files": [{"path": file["path"], "shouldIgnore": False,
                       "uploadMode": "lfs" if _is_large(file) else "regular",
                       "oid": files[file["path"]].oid if file["path"] in files else None}
                      for file in wanted["files"]]}  # fmt: skip


def _is_large(file: dict[str, Any]) -> bool:
    name = file["path"].rsplit("/", 1)[-1]
    return file["size"] > 10e6 or any(fnmatch(name, pattern) for pattern in LFS_PATTERNS)


@route("POST", r"/((?P<kind>datasets|spaces)/)?(?P<repo_id>[^/]+/[^/]+)\.git/info/lfs/objects/batch")
def lfs_batch(ask: Handler, kind: str, repo_id: str) -> dict[str, Any]:
    wanted = ask.json()
    ask.repo(kind or "models", repo_id, write=True)
    return {"transfer": "basic", "objects": [_lfs_actions(ask.server, thing) for thing in wanted["objects"]]}


def _lfs_actions(server: HubServer, wanted: dict[str, Any]) -> dict[str, Any]:
    """What to do for an LFS file: nothing where it is there already."""
    oid, size = wanted["oid"], wanted["size"]
    if oid in server.objects:
        return {"oid": oid, "size": size}
    url, chunk = f"{server.url}/lfs/{oid}", server.chunk_size
    upload: dict[str, Any] = {"href": url}
    if chunk and size > chunk:
        parts = {str(n + 1): f"{url}/{n + 1}" for n in range(math.ceil(size / chunk))}
        upload = {"href": f"{url}/complete", "header": {"chunk_size": str(chunk)} | parts}
    return {"oid": oid, "size": size, "actions": {"upload": upload, "verify": {"href": f"{url}/verify"}}}


@route("PUT", "/lfs/(?P<oid>[0-9a-f]{64})(/(?P<part>[0-9]+))?")
def put_object(ask: Handler, oid: str, part: str) -> None:
    content = ask.body()
    if part:
        ask.server.parts.setdefault(oid, {})[int(part)] = content
    else:
        _keep_object(ask.server, oid, content)
    ask.send(200, b"", {"ETag": f'"{hashlib.md5(content).hexdigest()}"'})


@route("POST", "/lfs/(?P<oid>[0-9a-f]{64})/complete")
def complete_object(ask: Handler, oid: str) -> dict[str, Any]:
    wanted, parts = ask.json(), ask.server.parts.pop(oid)
    _keep_object(ask.server, oid, b"".join(parts[part["partNumber"]] for part in wanted["parts"]))
    return {}


@route("POST", "/lfs/(?P<oid>[0-9a-f]{64})/verify")
def verify_object(ask: Handler, oid: str) -> dict[str, Any]:
    if len(ask.server.objects.get(oid, b"")) != ask.json()["size"]:
        raise HubError(404, "Object not found")
    return {}


def _keep_object(server: HubServer, oid: str, content: bytes) -> None:
    if hashlib.sha256(content).hexdigest() != oid:
        raise HubError(422, "The content does not have this SHA-256.")
    server.objects[oid] = content


@route("POST", f"/api/{REPO}/commit/(?P<revision>[^/]+)")
def commit(ask: Handler, kind: str, repo_id: str, revision: str) -> dict[str, Any]:
    lines = [json.loads(line) for line in ask.body().splitlines() if line.strip()]
    repo = ask.repo(kind, repo_id, write=True)
    with ask.server.lock:
        parent, files = ask.files(repo, revision)
        if revision not in repo.branches:
            raise HubError(400, "Commit to a branch.")
        files, header = dict(files), {}
        for key, value in ((line["key"], line["value"]) for line in lines):
            path = value.get("path")
            if key == "header":
                header = value
            elif key == "file":
                files[path] = File(base64.b64decode(value["content"]), False)
            elif key == "lfsFile":
                if value["oid"] not in ask.server.objects:
                    raise HubError(422, f"The LFS object of {path} was never uploaded.")
                files[path] = File(ask.server.objects[value["oid"]], True)
            else:  # deletedFile, deletedFolder
                files = {p: f for p, f in files.items() if p != path and not p.startswith(f"{path.rstrip('/')}/")}
        if header.get("parentCommit", parent) != parent:
            raise HubError(412, "A commit has happened since.")
        made = repo.commit(revision, files, header["summary"])
    return {"success": True, "commitOid": made, "commitUrl": f"{ask.server.url}/{repo_id}/commit/{made}"}


# Downloads


@route("GET", f"/api/{REPO}/tree/(?P<revision>[^/]+)(/(?P<under>.+))?")
def tree(ask: Handler, kind: str, repo_id: str, revision: str, under: str) -> list[dict[str, Any]]:
    _, files = ask.files(ask.repo(kind, repo_id), revision)
    start = f"{under}/" if under else ""
    found = {path: file.entry(path) for path, file in files.items() if path.startswith(start)}
    folders = {path[: len(start)] + path[len(start) :].split("/")[0] for path in found if "/" in path[len(start) :]}
    if ask.query.get("recursive", "").lower() != "true":
        found = {path: entry for path, entry in found.items() if "/" not in path[len(start) :]}
    return [*({"type": "directory", "path": f, "oid": "0" * 40} for f in sorted(folders)), *found.values()]


@route("POST", f"/api/{REPO}/paths-info/(?P<revision>[^/]+)")
def paths_info(ask: Handler, kind: str, repo_id: str, revision: str) -> list[dict[str, Any]]:
    wanted = parse_qs(ask.body().decode()).get("paths", [])
    _, files = ask.files(ask.repo(kind, repo_id), revision)
    return [files[path].entry(path) for path in wanted if path in files]


@route("GET", r"/((?P<kind>datasets|spaces)/)?(?P<repo_id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
def resolve(ask: Handler, kind: str, repo_id: str, revision: str, path: str) -> None:
    commit, files = ask.files(ask.repo(kind or "models", repo_id), revision)
    headers = {"X-Repo-Commit": commit, "Access-Control-Expose-Headers": "X-Repo-Commit"}
    if path not in files:
        ask.send(404, b"Entry not found", headers | {"X-Error-Code": "EntryNotFound"})
    elif files[path].lfs:
        oid, size = files[path].oid, len(files[path].content)
        headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(size)}
        elsewhere = f"http://localhost:{ask.server.server_port}"  # another host, as the real Hub's storage is
        ask.send(302, b"", headers | {"Location": f"{elsewhere}/cdn/{oid}"})
    else:
        _send_content(ask, files[path].content, headers | {"ETag": f'"{files[path].oid}"'})


@route("GET", "/cdn/(?P<oid>[0-9a-f]{64})")
def download(ask: Handler, oid: str) -> None:
    _send_content(ask, ask.server.objects[oid], {"ETag": f'"{oid}"'})


def _send_content(ask: Handler, content: bytes, headers: dict[str, str]) -> None:
    """A file or, if asked for, its rest; cut off where a test wants it."""
    headers = headers | {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", ask.headers.get("Range", ""))
    status, start, end = 200, 0, len(content)
    if wanted:
        status, start, end = 206, int(wanted[1]), int(wanted[2] or len(content) - 1) + 1
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
    if ask.command == "GET" and ask.server.cut_downloads:
        cut = ask.server.cut_downloads.pop(0)
        ask.send(status, b"", headers | {"Content-Length": str(end - start)})
        ask.wfile.write(content[start : start + cut])
        ask.hang_up()
    ask.send(status, content[start:end], headers)
