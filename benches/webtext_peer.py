"""The peers of benches/webtext.py: each does a stage on one core, and prints its speed by the process's own time.

    webtext_peer.py pack FOLDER FILE        writes the benchmark's pages into FILE, a WARC, by warcio
    webtext_peer.py warcio FILE             reads the pages of a WARC
    webtext_peer.py trafilatura FOLDER      extracts the benchmark's pages, by each of three settings
    webtext_peer.py datatrove FILE          FineWeb's filters on FILE's documents, by datatrove's reader and executor
    webtext_peer.py sign FILE FOLDER        MinHash signatures of FILE's documents into FOLDER, by datatrove's reader and executor
    webtext_peer.py cluster FOLDER          clusters by these signatures, into FOLDER too, by datatrove's buckets and clusters
"""

import gzip
import io
import json
import sys
import tempfile
import time
from pathlib import Path

COPIES = 10
# In a file of signatures of a bucket: eight hashes of 64 bits, and the document's number.
SIGNATURE_BYTES = 68


def pages(folder: str) -> list[bytes]:
    return [gzip.open(path).read() for path in sorted(Path(folder).glob("html/*.html.gz"))]


def pack(folder: str, output: str) -> None:
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    bodies = pages(folder)
    with open(output, "wb") as file:
        writer = WARCWriter(file, gzip=True)
        for copy in range(COPIES):
            for number, body in enumerate(bodies):
                headers = StatusAndHeaders("200 OK", [("Content-Type", "text/html")], protocol="HTTP/1.1")
                url = f"https://articles.example/{copy}/{number}"
                writer.write_record(writer.create_warc_record(url, "response", payload=io.BytesIO(body), http_headers=headers))
    print(json.dumps({"pages": COPIES * len(bodies), "mb": COPIES * sum(map(len, bodies)) / 1e6}))


def warcio(path: str) -> None:
    from warcio.archiveiterator import ArchiveIterator

    began, documents = time.process_time(), 0
    with open(path, "rb") as file:
        for record in ArchiveIterator(file):
            if record.rec_type == "response":
                documents += bool(record.content_stream().read())
    tell("warcio", documents, began)


def trafilatura(folder: str) -> None:
    import trafilatura
    from trafilatura.meta import reset_caches

    bodies = [body.decode("utf8") for body in pages(folder)]
    trafilatura.extract(bodies[0])
    for name, options in ("default", {}), ("fast", {"fast": True}), ("precise", {"favor_precision": True}):
        reset_caches()
        began = time.process_time()
        for body in bodies:
            trafilatura.extract(body, include_comments=False, **options)
        tell(f"trafilatura, {name}", len(bodies), began)


def datatrove(path: str) -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
    from datatrove.pipeline.readers import JsonlReader
    from loguru import logger

    logger.remove()
    documents = {}

    def count(name):
        def step(data, rank=0, world_size=1):
            documents[name] = 0
            for document in data:
                documents[name] += 1
                yield document

        return step

    def run(limit: int) -> float:
        """FineWeb's filters in the order of datatrove's examples/fineweb.py. Returns when it began."""
        source = Path(path)
        filters = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(filter_no_terminal_punct=False), FineWebQualityFilter()]
        with tempfile.TemporaryDirectory() as logs:
            steps = [JsonlReader(str(source.parent), glob_pattern=source.name, limit=limit), count("read"), *filters, count("kept")]
            executor = LocalPipelineExecutor(steps, tasks=1, workers=1, logging_dir=logs)
            began = time.process_time()
            executor.run()
        return began

    # The first documents load spaCy's rules, once.
    run(limit=2)
    began = run(limit=-1)
    tell("datatrove", documents["read"], began, kept=documents["kept"])


def minhash():
    """FineWeb's parameters: 14 buckets of 8 hashes of 64 bits, 5 words, and spaCy's English words, which are datatrove's default."""
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.utils.hashing import HashConfig

    config = MinhashConfig(hash_config=HashConfig(hash_fc="xxhash", precision=64))
    assert (config.num_buckets, config.hashes_per_bucket, config.n_grams) == (14, 8, 5), config
    return config


def execute(steps: list, tasks: int = 1):
    """Runs a pipeline in this process, and returns its statistics."""
    from datatrove.executor import LocalPipelineExecutor

    with tempfile.TemporaryDirectory() as logs:
        return LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=logs).run()


def sign(path: str, folder: str) -> None:
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.readers import JsonlReader
    from loguru import logger

    logger.remove()
    source = Path(path)

    def run(limit: int, output: str) -> None:
        reader = JsonlReader(str(source.parent), glob_pattern=source.name, limit=limit)
        execute([reader, MinhashDedupSignature(output, minhash())])

    # The first documents load spaCy's rules, once.
    with tempfile.TemporaryDirectory() as first:
        run(limit=2, output=first)
    began = time.process_time()
    run(limit=-1, output=folder)
    documents = signatures(folder)
    tell("datatrove", documents, began, kept=documents, clusters=0)


def signatures(folder: str) -> int:
    (file,) = Path(folder).glob("bucket_000/*.minhash.sig")
    return file.stat().st_size // SIGNATURE_BYTES


def cluster(folder: str) -> None:
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster
    from loguru import logger

    logger.remove()
    config = minhash()
    with tempfile.TemporaryDirectory(dir=folder) as output:
        duplicates, clusters = f"{output}/duplicates", f"{output}/clusters"
        began = time.process_time()
        # One task for each bucket, one after the other.
        execute([MinhashDedupBuckets(folder, duplicates, config=config)], tasks=config.num_buckets)
        (step,) = execute([MinhashDedupCluster(duplicates, clusters, config=config)]).stats
        documents = signatures(folder)
        removed = step.stats["to_remove"].total
        tell("datatrove", documents, began, kept=documents - removed, clusters=step.stats["duplicates"].total - removed)


def tell(name: str, documents: int, began: float, **more: int) -> None:
    """`began` is process time."""
    seconds = time.process_time() - began
    print(json.dumps({"implementation": name, "documents": documents, "documents_per_s": documents / seconds, **more}), flush=True)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"pack": pack, "warcio": warcio, "trafilatura": trafilatura, "datatrove": datatrove, "sign": sign,
     "cluster": cluster}[command](*arguments)
