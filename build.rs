//! Rebuilds when a migration or a file of the web client changes: they are embedded, and cargo doesn't see the files by itself.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=static");
}
