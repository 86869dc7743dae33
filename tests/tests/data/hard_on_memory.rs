//! Objects that are hard on a rank's memory: documents of many hosts, long documents, and one frame of zstd with a long window.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use tests::pages::{conversion, record};
use tests::random::Random;

/// Base-2 logarithm of the longest window of a zstd frame that is read: 128 MiB.
const WINDOW_LOG: u32 = 27;
/// Number of pages in one frame: more bytes than its window has.
const WINDOW_PAGES: u64 = 15_000;
/// Number of hosts that each object of many hosts has a document of.
const HOSTS: u64 = 20_000;
/// Number of objects of many hosts. Each is longer than a unit of several objects may be, and so a unit of its own.
const HOST_OBJECTS: u64 = 16;
/// Sentences of a document of many hosts; approximately 900 bytes.
const HOST_SENTENCES: u64 = 5;
const LONG_DOCUMENTS: u64 = 20;
/// Length of a long document, at least; a record may have 8 MiB.
const LONG_BYTES: usize = 6_000_000;

/// Bytes of that window, which whoever unpacks the frame has to hold.
pub const WINDOW_BYTES: u64 = 1 << WINDOW_LOG;

/// Adds documents of many hosts and long ones to `folder`. The rules of [`tests::staged::write_config`] keep the former.
pub fn write(folder: &Path) {
    let mut random = Random::new(17);
    for object in 0..HOST_OBJECTS {
        write_many_hosts(&folder.join(format!("hosts-{object:02}.warc")), object, &mut random);
    }
    write_long_documents(&folder.join("long.warc"), &mut random);
}

/// Adds an archive of pages to `folder` that is one frame, as `zstd --long=27` makes it.
pub fn write_long_window(folder: &Path) {
    let mut random = Random::new(17);
    let file = File::create(folder.join("window.warc.zst")).unwrap();
    let mut frame = zstd::stream::write::Encoder::new(file, 0).unwrap();
    frame.window_log(WINDOW_LOG).unwrap();
    for number in 0..WINDOW_PAGES {
        frame.write_all(&record(number, &mut random)).unwrap();
    }
    frame.finish().unwrap();
}

fn write_many_hosts(path: &Path, object: u64, random: &mut Random) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    for host in 0..HOSTS {
        let text: String = (0..HOST_SENTENCES).map(|_| sentence(random)).collect();
        let url = format!("http://host{host}.example/{object}");
        file.write_all(&conversion(object * HOSTS + host, &url, &text)).unwrap();
    }
    file.flush().unwrap();
}

fn write_long_documents(path: &Path, random: &mut Random) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    for number in 0..LONG_DOCUMENTS {
        let mut text = String::new();
        while text.len() < LONG_BYTES {
            text.push_str(&sentence(random));
        }
        file.write_all(&conversion(number, &format!("http://long.example/{number}"), &text)).unwrap();
    }
    file.flush().unwrap();
}

fn sentence(random: &mut Random) -> String {
    format!(
        "The ferry leaves the harbour at dawn with {} letters, and its captain reads the weather report before she starts the \
         engine. The seal on the first letter was {:x}.\n",
        random.below(1000),
        random.below(1 << 50)
    )
}
