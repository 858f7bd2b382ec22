//! An answer, from the question to its end: who hears what of it, and what is kept.

use super::scene::{Asked, KEY, PLACEHOLDER, Scene};
use crate::harness::upstream::script::{Gate, says};
use crate::harness::{Ground, on_both};
use serde_json::json;
use sha2::{Digest, Sha256};

/// The seed by PROTOCOL.md section 4.8.
pub(super) fn seed(message: u64) -> u32 {
    let hash = Sha256::digest(message.to_string());
    u32::from_be_bytes(hash[..4].try_into().expect("four bytes"))
}

on_both!(
    /// Proves AI-05, AI-07, AI-14, AI-18.
    a_question_is_answered_by_streaming,
    async |ground| {
        let scene = Scene::open(ground).await;
        let gate = Gate::new();
        scene.upstream.answers(says(["Gr", "üß", "e 🙂"]).then_waits_for(&gate).then_says([" alle"]).then_usage(30, 4));
        let mut follower = scene.follows().await;
        let Asked { prompt, run, message } = scene.asks("wie geht's?").await;

        let question = follower.listener.hears().await;
        assert_eq!((question.id, &*question.kind), (prompt, "message.posted"));
        let place = follower.listener.hears().await;
        assert_eq!((place.id, &*place.kind), (message, "message.posted"), "the place of the answer, before any of it");
        assert_eq!(place.json["data"]["body"], PLACEHOLDER);
        assert_eq!(place.json["data"]["author"]["id"], scene.ada);
        assert_eq!(
            place.json["data"]["run"],
            json!({ "id": run, "kind": "answer", "state": "queued", "asker_id": scene.house.admin.id, "prompt_id": prompt })
        );
        follower.hears_said(run, "Grüße 🙂").await;
        let asked = scene.upstream.is_asked().await;
        assert_eq!((&*asked.method, &*asked.path), ("POST", "/v1/chat/completions"));
        assert_eq!(asked.headers["authorization"], format!("Bearer {KEY}"));
        assert_eq!((&asked.json["model"], &asked.json["stream"]), (&json!("parrot"), &json!(true)));
        assert_eq!(asked.json["seed"], seed(prompt));
        assert!(asked.said_by("user").concat().contains("wie geht's?"), "{}", asked.json);
        let open = scene.run(scene.lobby(), run).await;
        assert_eq!((&open["state"], &open["message_id"]), (&json!("running"), &json!(message)));

        gate.opens();
        let end = follower.hears_the_end(run).await;
        let usage = json!({ "prompt_tokens": 30, "completion_tokens": 4, "cost_micros": 38, "estimated": false });
        let whole = "Grüße 🙂 alle";
        assert_eq!(
            end,
            json!({ "run_id": run, "message_id": message, "state": "done", "body": whole, "reason": null,
                "retryable": null, "truncated": false, "usage": usage })
        );
        assert_eq!(scene.upstream.requests().len(), 1);
        let kept = scene.message(message).await;
        assert_eq!((&kept["body"], &kept["version"]), (&json!(whole), &json!(1)));
        assert_eq!((&kept["run"]["state"], &kept["run"]["usage"]), (&json!("done"), &usage));
        assert!(kept["run"].get("text").is_none() && kept["run"]["first_token_at"].is_string(), "{kept}");
        scene.ann().says(scene.lobby(), "that's all").await;
        let after = follower.hears_message("that's all").await;
        assert!(after.is_empty(), "nothing follows the end: {after:?}");
        assert_eq!(follower.begun.len(), 1);
    }
);
