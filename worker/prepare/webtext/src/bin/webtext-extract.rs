//! The child of an extractor, by itself: for the tests of this package, and for whoever wants one that is nothing else.

use std::io;

fn main() -> io::Result<()> {
    webtext::extract::serve(io::stdin(), io::stdout())
}
