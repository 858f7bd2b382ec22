//! One answer at a time per conversation, and nothing else has to wait for it.

use crate::harness::{Ground, House, on_both};
use crate::rest::caller::Caller;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

on_both!(
    /// An engine takes the question and says nothing: another one in the same conversation is refused and names the run, and all that
    /// isn't for the assistant goes on as ever.
    ///
    /// Proves CORR-11.
    an_open_answer_delays_nobody,
    async |ground| {
        let house = House::open(ground).await;
        let engine = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base_url = format!("http://{}/v1", engine.local_addr().expect("an address"));
        let (silent, asked) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let first = engine.accept().await.expect("a question");
            silent.send(()).expect("is awaited");
            let mut others = vec![first];
            while let Ok(other) = engine.accept().await {
                others.push(other);
            }
        });
        let ann = Caller::of(&house.admin);
        let helper = json!({ "name": "Helper", "base_url": base_url, "model": "tiny" });
        ann.post("/assistants", helper).await.expect(201);
        let bob = house.joined_by("Bob").await;
        let mut socket = bob.listens_to(house.lobby).await;
        let post = |body: &str| json!({ "room_id": house.lobby, "client_message_id": Uuid::new_v4(), "body": body });
        let first = socket.asks("message.post", post("@Helper hello")).await;
        let run = first["runs"][0]["run_id"].clone();
        assert!(run.is_u64(), "{first}");
        asked.await.expect("the engine is asked");
        for n in 0..20 {
            let told = socket.asks("message.post", post(&format!("{n}, meanwhile"))).await;
            assert_eq!((told.get("runs"), told["seq"].is_u64()), (None, true), "{told}");
            assert_eq!(socket.asks("typing.start", json!({ "room_id": house.lobby })).await, json!({}));
            let read = json!({ "room_id": house.lobby, "seq": told["seq"] });
            assert_eq!(socket.asks("read.mark", read).await["read"], told["seq"]);
            if n % 5 == 0 {
                let busy = socket.asks("message.post", post(&format!("@Helper {n}"))).await;
                let error = &busy["runs"][0]["error"];
                assert_eq!((&error["code"], &error["run_id"]), (&json!("ai_busy"), &run), "{busy}");
            }
        }
        // It is open to the end, and free again once it is over.
        let stopped: Value = socket.asks("ai.stop", json!({ "room_id": house.lobby, "run_id": run })).await;
        assert_ne!(stopped["duplicate"], json!(true), "{stopped}");
        let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
        loop {
            let again = socket.asks("message.post", post("@Helper again")).await;
            if again["runs"][0]["run_id"].is_u64() {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{again}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
);
