"""Files in a form: no page takes one, so none is read to its end or written to a disk."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFilesSent
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler


class NoFiles(FileUploadHandler):
    """The only upload handler. Django's own count a form's text, and store files of any size."""

    def handle_raw_input(self, _input: Any, _meta: Any, content_length: int, *_rest: Any) -> None:
        """Refuse a form by its length, before anything of it is read."""
        if content_length > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise RequestDataTooBig

    def new_file(self, *_args: Any, **_options: Any) -> None:
        """Refuse the first file."""
        raise TooManyFilesSent("No page takes a file.")

    def receive_data_chunk(self, _raw: bytes, _start: int) -> None:
        """Never called: no file begins."""

    def file_complete(self, _size: int) -> UploadedFile[Any] | None:
        """Never called."""
