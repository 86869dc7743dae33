"""Makes tests/golden/warc-*.warc[.gz] with warcio, and warc.json: what warcio reads of them.

    python warc.py OUTPUT

OUTPUT is tests/golden. Needs Python 3.9 or later and `pip install warcio==1.8.1 brotlicffi==1.2.1.0`. All texts are written here.

    python warc.py --read FILE

prints what warcio reads of FILE, in the same form, for the test that has warcio read what Convoy writes. A payload is a string
of one character for each byte.
"""

import gzip
import io
import json
import sys
import zlib
from pathlib import Path

import brotlicffi

# warcio wants to add a field to the decompressor, which the one of `brotli` does not allow.
sys.modules["brotli"] = brotlicffi

from warcio.archiveiterator import ArchiveIterator  # noqa: E402
from warcio.statusandheaders import StatusAndHeaders  # noqa: E402
from warcio.warcwriter import WARCWriter  # noqa: E402

PAGE = (
    "<!doctype html><html><head><title>Bees</title></head>\n<body><p>A bee flies from flower to flower.</p>\r\n\r\n"
    "WARC/1.0\r\nis a version, and no record begins here. Été, 蜂.</body></html>\n"
).encode()
LONG = b"".join(b"<p>Paragraph %d of a page that is longer than others.</p>\n" % i for i in range(150))
HTML = ("Content-Type", "text/html; charset=UTF-8")


def chunked(body, size=40):
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def raw_deflate(body):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(body) + packer.flush()


# Name, status, header and body of responses.
RESPONSES = [
    ("plain", "200 OK", [HTML], PAGE),
    ("long", "200 OK", [HTML], LONG),
    ("empty", "204 No Content", [], b""),
    ("missing", "404 Not Found", [("content-type", "TEXT/HTML ; Charset='utf-8'")], b"<p>There is no such page.</p>"),
    ("moved", "301", [("Location", "https://bees.example/plain")], b"moved\r\n\r\n"),
    ("chunked", "200 OK", [HTML, ("Transfer-Encoding", "chunked")], chunked(PAGE)),
    ("gzip", "200 OK", [HTML, ("Content-Encoding", "gzip")], gzip.compress(PAGE, mtime=0)),
    ("deflate", "200 OK", [HTML, ("Content-Encoding", "deflate")], zlib.compress(PAGE)),
    ("raw-deflate", "200 OK", [HTML, ("Content-Encoding", "deflate")], raw_deflate(PAGE)),
    ("brotli", "200 OK", [HTML, ("Content-Encoding", "br")], brotlicffi.compress(PAGE)),
    (
        "chunked-gzip",
        "200 OK",
        [HTML, ("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")],
        chunked(gzip.compress(LONG, mtime=0), 1000),
    ),
    ("unpacked", "200 OK", [HTML, ("Content-Encoding", "gzip"), ("Content-Length", "7")], PAGE),
    ("not-chunked", "200 OK", [HTML, ("Transfer-Encoding", "chunked")], PAGE),
    ("latin-1", "200 OK", [("Content-Type", "text/html;charset=ISO-8859-1")], "<p>Café, straße</p>".encode("latin-1")),
    ("zeros", "200 OK", [("Content-Type", "application/octet-stream")], b"\0\0\r\n\r\n\0"),
    ("many-headers", "200 OK", [HTML] + [(f"X-Header-{i}", "x" * 100) for i in range(300)], PAGE),
]


def write(path, version, is_gzip):
    number = 0

    def fields(more=()):
        nonlocal number
        number += 1
        date = f"2026-11-30T12:00:{number:02}" + (".123456Z" if version == "WARC/1.1" else "Z")
        return {"WARC-Date": date, "WARC-Record-ID": f"<urn:uuid:00000000-0000-4000-8000-{number:012}>", **dict(more)}

    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=is_gzip, warc_version=version)

        def record(name, kind, content, http=None, more=(), content_type=""):
            writer.write_record(
                writer.create_warc_record(
                    f"https://bees.example/{name}",
                    kind,
                    payload=io.BytesIO(content),
                    http_headers=http,
                    warc_content_type=content_type,
                    warc_headers_dict=fields(more),
                )
            )

        record("info", "warcinfo", b"software: none\r\n", content_type="application/warc-fields")
        request = StatusAndHeaders("GET / HTTP/1.1", [("Host", "bees.example")], is_http_request=True)
        for name, status, headers, body in RESPONSES:
            record(name, "request", b"", request)
            record(name, "response", body, StatusAndHeaders(status, headers, protocol="HTTP/1.1"))
        record("cut", "response", PAGE[:60], StatusAndHeaders("200 OK", [HTML], protocol="HTTP/1.0"), [("WARC-Truncated", "length")])
        record("resource", "resource", PAGE, content_type="text/html")
        record("text", "conversion", "Bees fly.\nÉté.\n".encode(), content_type="text/plain")
        record("note", "metadata", b"a: b\r\n", content_type="application/warc-fields")
        revisit = writer.create_revisit_record(
            "https://bees.example/again", "sha1:B6QJ6BNJ3R4B23XXMRKZKHLPGJY2VE4O", "https://bees.example/plain", "2026-11-30T11:00:00Z",
            http_headers=StatusAndHeaders("200 OK", [HTML], protocol="HTTP/1.1"), warc_headers_dict=fields(),
        )  # fmt: skip
        writer.write_record(revisit)
        record("last", "response", b"<p>The last page.</p>", StatusAndHeaders("200 OK", [HTML], protocol="HTTP/1.1"))


def read(path):
    """What warcio reads of a file."""
    records = []
    with path.open("rb") as file:
        iterator = ArchiveIterator(file)
        for record in iterator:
            payload = record.content_stream().read()
            status = record.http_headers.get_statuscode() if record.http_headers and record.rec_type == "response" else None
            records.append(
                {
                    "type": record.rec_type,
                    "url": record.rec_headers.get_header("WARC-Target-URI"),
                    "date": record.rec_headers.get_header("WARC-Date"),
                    "offset": iterator.get_record_offset(),
                    "status": int(status) if status else None,
                    "payload": payload.decode("latin-1"),
                }
            )
    return records


def main():
    if sys.argv[1] == "--read":
        print(json.dumps(read(Path(sys.argv[2]))))
        return
    output = Path(sys.argv[1])
    golden = {}
    for name, version, is_gzip in [
        ("warc-1.0.warc", "1.0", False),
        ("warc-1.0.warc.gz", "1.0", True),
        ("warc-1.1.warc.gz", "1.1", True),
    ]:
        write(output / name, f"WARC/{version}", is_gzip)
        golden[name] = read(output / name)
    (output / "warc.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
