//! Rebuilds when a migration changes: they are embedded, and cargo doesn't see the files by itself.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
