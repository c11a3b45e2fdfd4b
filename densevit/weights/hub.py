"""Files from the Hugging Face hub and from plain addresses, by the clients that people know, in whose caches they lie.

`huggingface_hub` reads HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE and HF_TOKEN, `torch.hub` reads TORCH_HOME; both show how
far a download is.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError

import torch

from densevit.quoting import sentence


def fetch_from_hub(repository: str, files: Sequence[str], *, revision: str | None = None) -> tuple[Path, str]:
    """The first of `files` that is in a repository of the hub, as a file of the cache, and the commit that holds it.

    `revision` is a branch, a tag or a commit; None is the newest. Raises ModuleNotFoundError without the package
    huggingface_hub, ConnectionError where the hub cannot be reached and the cache does not hold the file, and
    ValueError for a repository, revision or file that there is not or that may not be read: each in one sentence.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    unreached: LocalEntryNotFoundError | None = None
    with _in_words(repository, revision):
        for file in files:
            try:
                path = hf_hub_download(repository, file, revision=revision, local_files_only=unreached is not None)
            except LocalEntryNotFoundError as error:
                unreached = unreached or error
            except EntryNotFoundError:
                continue
            else:
                return Path(path), _commit_of(Path(path), file)
        if unreached is not None:
            raise unreached
    at = "" if revision is None else f" at the revision {revision!r}"
    raise ValueError(f"the repository {repository!r} holds no {' or '.join(files)}{at}; say the name of the file")


def _commit_of(path: Path, file: str) -> str:
    """The cache keeps a file of a commit as snapshots/COMMIT/FILE."""
    return path.parents[len(Path(file).parts) - 1].name


@contextmanager
def _in_words(repository: str, revision: str | None) -> Iterator[None]:
    """Errors of the hub's client as one sentence that says what to do."""
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/{repository}"
    try:
        yield
    except errors.LocalEntryNotFoundError as error:
        if constants.HF_HUB_OFFLINE:
            why = "HF_HUB_OFFLINE forbids to look for it; fetch it once without that variable"
        else:
            answer = getattr(error.__cause__, "response", None)
            failed = "could not be reached" if answer is None else f"answered with an error ({answer.status_code})"
            why = f"{constants.ENDPOINT} {failed}; fetch it where there is a network, or set HF_ENDPOINT to a mirror"
        raise ConnectionError(f"{repository!r} is not in the cache {constants.HF_HUB_CACHE}, and {why}") from error
    except errors.GatedRepoError as error:
        raise ValueError(
            f"{repository!r} is open only to those who accepted its terms; accept them on {page}, then log in by "
            "`hf auth login` or set HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ValueError(
            f"there is no repository {repository!r} at {constants.ENDPOINT}, or it is private: then log in by "
            "`hf auth login` or set HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(f"the repository {repository!r} has no revision {revision!r}; see {page}/commits") from error
    except errors.HfHubHTTPError as error:
        raise ValueError(
            f"{page} refuses this ({error.response.status_code}); log in by `hf auth login` or set HF_TOKEN "
            "to a token that may do it"
        ) from error
    except errors.HTTPError as error:  # of the client below: a proxy that refuses, a download that breaks off
        raise ConnectionError(f"{page} could not be read: {sentence(str(error))}; try again later") from error
    except errors.HFValidationError as error:
        raise ValueError(f"{repository!r} is no name of a repository: {sentence(str(error))}") from error


def upload_folder(folder: Path, repository: str, *, private: bool, message: str) -> str:
    """Upload the files of a folder as one commit, to a repository that is made where there is none; its address.

    Raises ValueError where one is not logged in or may not write there, ConnectionError where the hub is not reached.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with _in_words(repository, None):
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
    return str(address)


def fetch_address(address: str, *, sha256: str | None = None) -> Path:
    """The file at an address, in the folder where `torch.hub` keeps such; downloaded where it is not there yet.

    `sha256`, or its first digits, is compared after a download. Raises ValueError for a file that has another, or that
    there is not, and ConnectionError where the address cannot be reached.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / address.rpartition("/")[2]
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(address, str(path), hash_prefix=sha256)
    except RuntimeError as error:
        if "hash" not in str(error):
            raise
        raise ValueError(
            f"what came from {address} is not the file that was published: its SHA-256 does not begin with {sha256}"
        ) from error
    except HTTPError as error:
        error.close()
        if error.code == 404:
            raise ValueError(f"there is no file at {address} any more; fetch it elsewhere and give its path") from error
        raise ConnectionError(f"{address} answers with an error ({error.code}); try again later") from error
    except (URLError, TimeoutError, ConnectionError) as error:
        raise ConnectionError(
            f"{address} could not be reached, and {path} is not there yet; fetch it where there is a network, and put "
            "it there"
        ) from error
    return path
