"""A word for a file: by its content type, else by its extension. The type itself is never shown."""

from typing import Final

from messagelog.messages import MediaAttachment

_FAMILIES: Final = {"audio": "audio", "image": "image", "video": "video", "text": "text"}

_BY_TYPE: Final = {
    "text/vcard": "contact",
    "text/x-vcard": "contact",
    "text/directory": "contact",
    "application/vcard": "contact",
    "application/pdf": "pdf",
    "application/x-pdf": "pdf",
    "text/calendar": "calendar",
    "text/x-vcalendar": "calendar",
    "application/ics": "calendar",
    "application/ogg": "audio",
    "application/msword": "document",
    "application/rtf": "document",
    "text/rtf": "document",
    "application/vnd.oasis.opendocument.text": "document",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "document",
    "text/csv": "spreadsheet",
    "application/csv": "spreadsheet",
    "application/vnd.ms-excel": "spreadsheet",
    "application/vnd.oasis.opendocument.spreadsheet": "spreadsheet",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "spreadsheet",
    "application/vnd.ms-powerpoint": "presentation",
    "application/vnd.oasis.opendocument.presentation": "presentation",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "presentation",
    "application/zip": "archive",
    "application/x-zip-compressed": "archive",
    "application/gzip": "archive",
    "application/x-tar": "archive",
    "application/x-7z-compressed": "archive",
    "application/vnd.rar": "archive",
    "application/x-rar-compressed": "archive",
}

_BY_NAME: Final = {
    **dict.fromkeys(("vcf", "vcard"), "contact"),
    **dict.fromkeys(("pdf",), "pdf"),
    **dict.fromkeys(("ics", "vcs"), "calendar"),
    **dict.fromkeys(("mp3", "m4a", "amr", "3ga", "wav", "ogg", "oga", "opus", "aac", "caf", "flac"), "audio"),
    **dict.fromkeys(("jpg", "jpeg", "png", "gif", "webp", "heic", "heif", "bmp", "tif", "tiff"), "image"),
    **dict.fromkeys(("mp4", "m4v", "mov", "3gp", "3g2", "webm", "avi", "mkv"), "video"),
    **dict.fromkeys(("doc", "docx", "odt", "rtf", "pages"), "document"),
    **dict.fromkeys(("xls", "xlsx", "ods", "csv", "numbers"), "spreadsheet"),
    **dict.fromkeys(("ppt", "pptx", "odp", "key"), "presentation"),
    **dict.fromkeys(("txt", "log", "md"), "text"),
    **dict.fromkeys(("zip", "7z", "gz", "tgz", "tar", "rar"), "archive"),
}


def word_of(file: MediaAttachment) -> str:
    """Return the kind of a file for `Words.media`; `file` if neither its type nor its name is known."""
    type_ = (file.content_type or "").partition(";")[0].strip().casefold()
    named = (file.file_name or "").strip().rpartition(".")[2].casefold()
    return _BY_TYPE.get(type_) or _FAMILIES.get(type_.partition("/")[0]) or _BY_NAME.get(named, "file")
