"""The contents API on a :class:`Workspace`, and checkpoints in a directory of the server's own."""

from __future__ import annotations

import asyncio
import base64
import binascii
import errno
import hashlib
import mimetypes
import os
from collections.abc import Callable
from datetime import datetime, timezone
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import nbformat
from jupyter_server.services.contents.checkpoints import (
    AsyncCheckpoints,
    AsyncGenericCheckpointsMixin,
)
from jupyter_server.services.contents.manager import AsyncContentsManager
from tornado.web import HTTPError
from traitlets import Bool, Unicode

from moat_nb.config.model import WORKSPACE
from moat_nb.errors import MoatError
from moat_nb.jupyter.server.workspace import Facts, Workspace

__all__ = ["OwnCheckpoints", "WorkspaceContents"]

STATUS = {
    errno.ENOENT: HTTPStatus.NOT_FOUND,
    errno.ENOTDIR: HTTPStatus.NOT_FOUND,
    errno.ELOOP: HTTPStatus.NOT_FOUND,
    errno.EACCES: HTTPStatus.FORBIDDEN,
    errno.EPERM: HTTPStatus.FORBIDDEN,
    errno.EROFS: HTTPStatus.FORBIDDEN,
    errno.EBUSY: HTTPStatus.FORBIDDEN,  # something is mounted on it: an exclude, a protected name
    errno.EXDEV: HTTPStatus.FORBIDDEN,
    errno.EEXIST: HTTPStatus.CONFLICT,
    errno.ENOTEMPTY: HTTPStatus.CONFLICT,
    errno.EINVAL: HTTPStatus.BAD_REQUEST,
    errno.EISDIR: HTTPStatus.BAD_REQUEST,
    errno.ENAMETOOLONG: HTTPStatus.BAD_REQUEST,
    errno.EFBIG: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errno.ENOSPC: HTTPStatus.INSUFFICIENT_STORAGE,
    errno.EDQUOT: HTTPStatus.INSUFFICIENT_STORAGE,
}

T = TypeVar("T")


async def asked(function: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """What blocks, in a thread; HTTPError in place of what it raises."""
    try:
        return await asyncio.to_thread(function, *arguments, **options)
    except OSError as error:
        number = error.errno or errno.EIO
        status = STATUS.get(number, HTTPStatus.INTERNAL_SERVER_ERROR)
        raise HTTPError(status, reason=os.strerror(number)) from None
    except MoatError as error:
        words = str(error).partition("\n")[0]
        raise HTTPError(HTTPStatus.SERVICE_UNAVAILABLE, words) from None


class WorkspaceContents(AsyncContentsManager):
    """Serves the server's workspace, and touches no file itself."""

    root_dir = Unicode(WORKSPACE, config=True)
    trust_widgets = Bool(True, config=True)
    """Whether a notebook that this server has not signed brings the widgets that are saved in it.
    ipywidgets makes their models when the notebook is opened, and code of theirs acts in the page;
    what has an origin of its own loses nothing by that."""
    allow_hidden = True
    delete_to_trash = False

    @property
    def workspace(self) -> Workspace:
        found: Workspace = getattr(self.parent, "workspace")  # noqa: B009
        return found

    def info_string(self) -> str:
        return "Serving the project's files as its sandbox sees them"

    # -------- looks

    async def _look(self, path: str) -> Facts | None:
        try:
            return await asked(self.workspace.look, path)
        except HTTPError as error:
            if error.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            return None

    async def dir_exists(self, path: str) -> bool:
        facts = await self._look(path)
        return facts is not None and facts.type == "directory"

    async def file_exists(self, path: str = "") -> bool:
        facts = await self._look(path)
        return facts is not None and facts.type == "file"

    async def exists(self, path: str) -> bool:
        return await self._look(path) is not None

    async def is_hidden(self, path: str) -> bool:
        return any(part.startswith(".") for part in path.split("/"))

    # -------- get

    async def get(
        self,
        path: str,
        content: bool = True,
        type: str | None = None,
        format: str | None = None,
        require_hash: bool = False,
    ) -> dict[str, Any]:
        path = path.strip("/")
        facts = await asked(self.workspace.look, path)
        if facts.type == "other":
            raise HTTPError(HTTPStatus.BAD_REQUEST, reason="neither a file nor a directory")
        if (facts.type == "directory") != (type == "directory") and type is not None:
            raise HTTPError(HTTPStatus.BAD_REQUEST, reason=f"it is a {facts.type}")
        if facts.type == "directory":
            return await self._directory(path, facts, content)
        is_notebook = type == "notebook" or (type is None and path.endswith(".ipynb"))
        if not content and not require_hash:
            return model_of(path, facts, "notebook" if is_notebook else "file")
        facts, data = await asked(self.workspace.read, path)
        made = model_of(path, facts, "notebook" if is_notebook else "file")
        if require_hash:
            made["hash"] = hashlib.sha256(data).hexdigest()
            made["hash_algorithm"] = "sha256"
        if content and is_notebook:
            self._fill_notebook(made, data)
        elif content:
            _fill_file(made, data, format)
        return made

    async def _directory(self, path: str, facts: Facts, content: bool) -> dict[str, Any]:
        made = model_of(path, facts, "directory")
        made["size"] = None
        if content:
            found = await asked(self.workspace.list, path)
            made["format"] = "json"
            made["content"] = [
                model_of(f"{path}/{name}".strip("/"), facts, _type_of(name, facts))
                for name, facts in sorted(found.items())
                if facts.type != "other" and self.should_list(name)
            ]
        return made

    def _fill_notebook(self, made: dict[str, Any], data: bytes) -> None:
        try:
            notebook = nbformat.reads(data.decode(), as_version=4)
            signed = self.notary.check_signature(notebook)  # which the marks would change
            self.mark_trusted_cells(notebook, made["path"])
            if not (self.trust_widgets or signed):
                notebook.metadata.pop("widgets", None)
        except Exception as error:
            # Whatever a hostile notebook provokes: a RecursionError, an AttributeError, ...
            name = type(error).__name__
            words = f"Unreadable Notebook: {made['path']} {name}: {error!s:.200}"
            raise HTTPError(HTTPStatus.BAD_REQUEST, words) from None
        made["content"], made["format"] = notebook, "json"
        self.validate_notebook_model(made)

    # -------- changes

    async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        path = path.strip("/")
        kind = model.get("type")
        if kind not in ("file", "notebook", "directory"):
            raise HTTPError(HTTPStatus.BAD_REQUEST, reason="no type is given")
        if kind == "directory":
            facts = await self._look(path)
            if facts is None or facts.type != "directory":
                facts = await asked(self.workspace.make_directory, path)
        else:
            chunk = model.get("chunk")
            append = isinstance(chunk, int) and chunk != 1
            data = self._notebook_bytes(model, path) if kind == "notebook" else _bytes_of(model)
            facts = await asked(self.workspace.write, path, data, append=append)
        made = model_of(path, facts, kind)
        made.update({key: model[key] for key in ("message",) if key in model})
        self.emit(data={"action": "save", "path": path})
        return made

    def _notebook_bytes(self, model: dict[str, Any], path: str) -> bytes:
        try:
            notebook = nbformat.from_dict(model["content"])
            self.check_and_sign(notebook, path)
            text: str = nbformat.writes(notebook, version=nbformat.NO_CONVERT)
            model["content"] = notebook
            self.validate_notebook_model(model)
            return text.encode()
        except Exception as error:
            words = f"not a notebook: {error!s:.200}"
            raise HTTPError(HTTPStatus.BAD_REQUEST, words) from None

    async def delete_file(self, path: str) -> None:
        await asked(self.workspace.delete, path)

    async def rename_file(self, old_path: str, new_path: str) -> None:
        await asked(self.workspace.rename, old_path, new_path)

    def get_kernel_path(self, path: str, model: Any = None) -> str:
        return path.rpartition("/")[0]

    def get_extra_handlers(self) -> list[Any]:
        from jupyter_server.files.handlers import FilesHandler

        return [(r"/files/(.*)", FilesHandler, {"path": ""})]


def model_of(path: str, facts: Facts, type: str) -> dict[str, Any]:
    """Jupyter's value for a file, without its content."""
    name = path.rpartition("/")[2]
    mimetype = mimetypes.guess_type(name)[0] if type == "file" else None
    return {
        "name": name,
        "path": path,
        "type": type,
        "size": facts.size,
        "created": _time(facts.created),
        "last_modified": _time(facts.modified),
        "writable": facts.writable,
        "mimetype": mimetype,
        "content": None,
        "format": None,
        "hash": None,
        "hash_algorithm": None,
    }


def _type_of(name: str, facts: Facts) -> str:
    return "notebook" if facts.type == "file" and name.endswith(".ipynb") else facts.type


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def _fill_file(made: dict[str, Any], data: bytes, format: str | None) -> None:
    if format != "base64":
        try:
            made["content"], made["format"] = data.decode(), "text"
        except UnicodeDecodeError:
            if format == "text":
                raise HTTPError(HTTPStatus.BAD_REQUEST, reason="not UTF-8 encoded") from None
    if made["content"] is None:
        made["content"], made["format"] = base64.encodebytes(data).decode(), "base64"
    if made["mimetype"] is None:
        binary = made["format"] == "base64"
        made["mimetype"] = "application/octet-stream" if binary else "text/plain"


def _bytes_of(model: dict[str, Any]) -> bytes:
    content, format = model.get("content"), model.get("format")
    if not isinstance(content, str) or format not in ("text", "base64"):
        raise HTTPError(HTTPStatus.BAD_REQUEST, reason="no content as text or base64")
    try:
        return content.encode() if format == "text" else base64.b64decode(content)
    except (UnicodeError, binascii.Error):
        raise HTTPError(HTTPStatus.BAD_REQUEST, reason="cannot be encoded") from None


class OwnCheckpoints(AsyncGenericCheckpointsMixin, AsyncCheckpoints):
    """One checkpoint a file, below :attr:`directory`, where no sandbox can write; the file's name
    there is a hash of its path."""

    directory = Unicode(config=True)

    ID = "checkpoint"

    def _file(self, path: str) -> Path:
        return Path(self.directory, hashlib.sha256(path.strip("/").encode()).hexdigest())

    async def create_notebook_checkpoint(self, nb: Any, path: str) -> dict[str, Any]:
        return await self._keep(path, nbformat.writes(nbformat.from_dict(nb)).encode())

    async def create_file_checkpoint(self, content: str, format: str, path: str) -> dict[str, Any]:
        return await self._keep(path, _bytes_of({"content": content, "format": format}))

    async def _keep(self, path: str, data: bytes) -> dict[str, Any]:
        await asked(self._file(path).write_bytes, data)
        return self._model(self._file(path))

    def _model(self, file: Path) -> dict[str, Any]:
        return {"id": self.ID, "last_modified": _time(int(file.stat().st_mtime))}

    async def list_checkpoints(self, path: str) -> list[dict[str, Any]]:
        file = self._file(path)
        return [self._model(file)] if file.exists() else []

    async def get_notebook_checkpoint(self, checkpoint_id: str, path: str) -> dict[str, Any]:
        data = await self._kept(path)
        return {"type": "notebook", "content": nbformat.reads(data.decode(), as_version=4)}

    async def get_file_checkpoint(self, checkpoint_id: str, path: str) -> dict[str, Any]:
        made: dict[str, Any] = {"type": "file", "content": None, "mimetype": ""}
        _fill_file(made, await self._kept(path), None)
        return made

    async def _kept(self, path: str) -> bytes:
        return await asked(self._file(path).read_bytes)

    async def rename_checkpoint(self, checkpoint_id: str, old_path: str, new_path: str) -> None:
        await asked(self._file(old_path).replace, self._file(new_path))

    async def delete_checkpoint(self, checkpoint_id: str, path: str) -> None:
        await asked(self._file(path).unlink)
