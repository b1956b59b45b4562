"""Push a finished dataset to the Hugging Face hub, by the hub's own client."""

from beam_sdg.publish import CARD, MANIFEST, PAGE, read_manifest
from transforms.errors import RunError, UsageError

PUSHED = ("data/*", "rejects/*", CARD, MANIFEST, PAGE)


def check_push(repo_id: str) -> None:
    """Look at what can be wrong with a push before there is anything to push.

    Raises:
        UsageError: no client, no token, or a name that cannot be one.
    """
    try:
        from huggingface_hub import get_token
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id
    except ImportError as error:
        raise UsageError(
            f"pushing to {repo_id} needs the hub's client: pip install 'beam-sdg[hub]'"
        ) from error
    if not get_token():
        raise UsageError(f"no token to push to {repo_id} with; set HF_TOKEN or run: hf auth login")
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UsageError(f"{repo_id!r} is no name of a dataset; write ORGANISATION/NAME") from error


def push(output: str, repo_id: str, private: bool = True) -> str:
    """Make the repository of a dataset hold what is in `output`; its URL.

    It takes one commit, or several where the client splits a large one. Files of an earlier push
    that are no longer there are removed; pushing the same again changes nothing. Neither answers
    nor stages are pushed. The token is the client's own: HF_TOKEN, or that of `hf auth login`.

    Raises:
        UsageError: no finished dataset, or what `check_push` says.
        RunError: the hub refuses or cannot be reached; the dataset stays as it is.
    """
    if read_manifest(output) is None:
        raise UsageError(f"{output} holds no finished dataset to push; run its command first")
    check_push(repo_id)
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    hub, again = constants.ENDPOINT, f"{output} is complete: push it again once that is mended"
    api = HfApi(endpoint=hub)
    try:
        repo = api.create_repo(repo_id, private=private, repo_type="dataset", exist_ok=True)
        api.upload_folder(
            repo_id=repo_id,
            repo_type="dataset",
            folder_path=output,
            allow_patterns=list(PUSHED),
            delete_patterns=["data/*", "rejects/*"],
            commit_message="Dataset and report",
        )
    except HfHubHTTPError as error:
        said = error.server_message or error.response.reason_phrase
        status = error.response.status_code
        raise RunError(
            f"{hub} refuses to take {repo_id}: HTTP {status}, {said}{_mend(status)}; {again}"
        ) from error
    except (HTTPError, OSError) as error:
        raise RunError(f"cannot reach {hub} to push {repo_id}: {error}; {again}") from error
    return repo.url


def _mend(status: int) -> str:
    if status == 401:
        return " (the token is not valid)"
    return " (the token has no right to write there)" if status == 403 else ""
