"""The Hub's protocol through the unmodified client, against a server on loopback."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import HubServer
from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from PIL import Image

from leaml_hf import LeamlInputError
from leaml_hf.data.sources import load_data

REPO = "org/something"
WEIGHTS = bytes(range(256)) * 1200


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    """Regular files, one of them in a folder, and an LFS file."""
    (tmp_path / "up" / "part").mkdir(parents=True)
    (tmp_path / "up" / "README.md").write_text("---\npipeline_tag: image-text-to-text\ntags: [leaml]\n---\n# Hello\n")
    (tmp_path / "up" / "part" / "config.json").write_text("{}")
    (tmp_path / "up" / "model.safetensors").write_bytes(WEIGHTS)
    return tmp_path / "up"


@pytest.fixture()
def hub(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """The Hub, empty for a while, and a client that has cached nothing."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "own cache"))
    kept = hub.repos, hub.objects
    hub.clear()
    yield hub
    hub.clear()
    hub.repos, hub.objects = kept


@pytest.fixture()
def api(hub: HubServer) -> HfApi:
    return HfApi()


@pytest.fixture()
def fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)


def contents(folder: str | Path) -> dict[str, bytes]:
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_folder_goes_up_and_comes_down(hub, api, folder, tmp_path):
    assert api.whoami()["name"] == "alice"
    url = api.create_repo(REPO)
    assert url.repo_id == REPO
    commit = api.upload_folder(repo_id=REPO, folder_path=folder)
    info = api.model_info(REPO, files_metadata=True)
    assert info.sha == commit.oid and not info.private
    assert info.pipeline_tag == "image-text-to-text" and info.card_data.tags == ["leaml"]
    assert {file.rfilename for file in info.siblings} == {".gitattributes", *contents(folder)}
    down = contents(snapshot_download(REPO, local_dir=tmp_path / "down"))
    assert {name: down[name] for name in contents(folder)} == contents(folder)
    assert ("PUT", f"/lfs/{next(iter(hub.objects))}") in hub.requests  # one file went by LFS
    assert [file.path for file in api.list_repo_tree(REPO, "part")] == ["part/config.json"]
    assert api.get_paths_info(REPO, ["model.safetensors"])[0].lfs.size == len(WEIGHTS)


def test_what_is_there_is_not_sent_again(hub, api, folder):
    api.create_repo(REPO)
    first = api.upload_folder(repo_id=REPO, folder_path=folder)
    hub.requests.clear()
    again = api.upload_folder(repo_id=REPO, folder_path=folder)
    assert again.oid == first.oid
    assert not any(method == "PUT" for method, _ in hub.requests)


def test_a_large_file_goes_up_in_parts(hub, api, folder):
    hub.chunk_size = 100_000
    api.create_repo(REPO)
    api.upload_folder(repo_id=REPO, folder_path=folder)
    assert hub.files(REPO)["model.safetensors"] == WEIGHTS
    assert sum(method == "PUT" for method, _ in hub.requests) == 4


def test_branches_tags_and_commits(api, folder):
    api.create_repo(REPO)
    first = api.upload_folder(repo_id=REPO, folder_path=folder).oid
    api.create_tag(REPO, tag="v1")
    api.create_branch(REPO, branch="try/out")
    (folder / "README.md").write_text("changed")
    shutil.rmtree(folder / "part")
    second = api.upload_folder(repo_id=REPO, folder_path=folder, revision="try/out", delete_patterns="part/*").oid
    assert api.model_info(REPO, revision="v1").sha == first == api.model_info(REPO).sha
    assert api.model_info(REPO, revision="try/out").sha == second
    assert "part/config.json" not in api.list_repo_files(REPO, revision="try/out")
    refs = api.list_repo_refs(REPO)
    assert {ref.name for ref in refs.branches} == {"main", "try/out"} and [ref.name for ref in refs.tags] == ["v1"]
    assert len(api.list_repo_commits(REPO)) == 3
    read = lambda revision: Path(hf_hub_download(REPO, "README.md", revision=revision)).read_text()  # noqa: E731
    assert read("try/out") == "changed" == read(second)
    assert read("v1").endswith("# Hello\n")
    api.delete_tag(REPO, tag="v1")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="v1")


def test_private_repos_are_for_those_who_may(api, folder):
    api.create_repo("secret", private=True)
    api.upload_folder(repo_id="alice/secret", folder_path=folder)
    assert api.model_info("alice/secret").private
    for token in (False, "hf_bob"):
        other = HfApi(token=token)
        with pytest.raises(RepositoryNotFoundError):
            other.model_info("alice/secret")
        with pytest.raises(RepositoryNotFoundError):
            other.hf_hub_download("alice/secret", "README.md")
    assert HfApi(token="hf_alice").hf_hub_download("alice/secret", "README.md")


def test_refusals(api, folder):
    with pytest.raises(RepositoryNotFoundError) as missing:
        api.model_info("org/none")
    assert missing.value.response.status_code == 404
    with pytest.raises(HfHubHTTPError) as unknown:
        HfApi(token="hf_wrong").whoami()
    assert unknown.value.response.status_code == 401
    with pytest.raises(RepositoryNotFoundError):
        HfApi(token=False).model_info("org/none")
    with pytest.raises(HfHubHTTPError) as forbidden:
        api.create_repo("bob/mine")
    assert forbidden.value.response.status_code == 403
    api.create_repo(REPO)
    with pytest.raises(HfHubHTTPError) as twice:
        api.create_repo(REPO)
    assert twice.value.response.status_code == 409
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(REPO, "none.json")
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download(REPO, "README.md", revision="none")
    with pytest.raises(HfHubHTTPError) as stale:
        api.upload_folder(repo_id=REPO, folder_path=folder, parent_commit="0" * 40)
    assert stale.value.response.status_code == 412


def test_an_upload_cut_in_the_middle_goes_on(hub, api, folder, fast_retries):
    api.create_repo(REPO)
    hub.cut_uploads = [1000]
    api.upload_folder(repo_id=REPO, folder_path=folder)  # the client tries again by itself
    assert hub.files(REPO)["model.safetensors"] == WEIGHTS


def test_an_upload_given_up_is_resumed_by_the_same_call(hub, api, folder, fast_retries):
    (folder / "other.safetensors").write_bytes(WEIGHTS[::-1])
    api.create_repo(REPO)
    hub.cut_uploads = [0, *[1000] * 40]  # one file never arrives
    with pytest.raises(RuntimeError, match="Error while uploading"):
        api.upload_folder(repo_id=REPO, folder_path=folder)
    assert "model.safetensors" not in hub.files(REPO)  # all or nothing
    hub.cut_uploads = []
    arrived = set(hub.objects)
    hub.requests.clear()
    api.upload_folder(repo_id=REPO, folder_path=folder)
    assert contents(folder).items() <= hub.files(REPO).items()
    assert not arrived & {path.split("/")[2] for method, path in hub.requests if method == "PUT"}


def test_a_download_cut_in_the_middle_goes_on(hub, api, folder, fast_retries):
    api.create_repo(REPO)
    api.upload_folder(repo_id=REPO, folder_path=folder)
    hub.cut_downloads = [1000]
    assert Path(hf_hub_download(REPO, "model.safetensors")).read_bytes() == WEIGHTS
    assert sum(method == "GET" and path.startswith("/cdn/") for method, path in hub.requests) == 2


def test_offline_what_is_cached_is_there_and_the_rest_is_not(hub, api, folder, tmp_path):
    api.create_repo(REPO)
    api.upload_folder(repo_id=REPO, folder_path=folder)
    cache = tmp_path / "cache"
    snapshot_download(REPO, cache_dir=cache / "hub")
    script = (
        "import json, sys; from huggingface_hub import hf_hub_download, snapshot_download, model_info, errors\n"
        f"path = snapshot_download({REPO!r})\n"
        "for call in (lambda: hf_hub_download('org/other', 'a.json'), lambda: model_info('org/other')):\n"
        "    try: call()\n"
        "    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error: pass\n"
        "    else: sys.exit('went online')\n"
        "print(json.dumps(path))"
    )
    hub.requests.clear()
    environment = hub.environment(cache, HF_HUB_OFFLINE="1")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-1000:]
    assert contents(folder).items() <= contents(json.loads(done.stdout)).items()
    assert not hub.requests


def test_a_data_set_of_the_hub_is_data(api, tmp_path):
    for split, count in (("train", 4), ("test", 2)):
        (tmp_path / "charts" / split).mkdir(parents=True)
        rows = [{"file_name": f"{i}.png", "question": "how many ?", "answer": str(i)} for i in range(count)]
        for row in rows:
            Image.new("RGB", (8, 8), (40 * int(row["answer"]), 0, 0)).save(
                tmp_path / "charts" / split / row["file_name"]
            )
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "charts" / split / "metadata.jsonl").write_text(text)
    api.create_repo("org/charts", repo_type="dataset")
    api.upload_folder(repo_id="org/charts", folder_path=tmp_path / "charts", repo_type="dataset")
    data = load_data("org/charts", ("train", "test"))
    assert data["train"]["id"] == ["train-0", "train-1", "train-2", "train-3"] and len(data["test"]) == 2
    assert data["train"][3]["answer"] == "3" and data["train"][3]["image"].getpixel((0, 0)) == (120, 0, 0)
    with pytest.raises(LeamlInputError, match="neither a folder here nor a data set"):
        load_data("org/none")


def test_this_is_the_client_as_it_is(hub):
    assert hub.url == constants.ENDPOINT and constants.HF_HUB_DISABLE_XET
    assert issubclass(LocalEntryNotFoundError, FileNotFoundError)
