//! The tables as diesel sees them: one text for both backends, kept equal to `migrations/` by a test.

diesel::table! {
    accounts (id) { id -> BigInt, name -> Text, join_code -> Text, settings -> Text, created_at -> BigInt, }
}

diesel::table! {
    users (id) {
        id -> BigInt,
        name -> Text,
        role -> Text,
        status -> Text,
        email -> Nullable<Text>,
        password_hash -> Nullable<Text>,
        last_seen_at -> Nullable<BigInt>,
        created_at -> BigInt,
        bio -> Text,
    }
}

diesel::table! {
    sessions (id) {
        id -> BigInt,
        token_hash -> Binary,
        user_id -> BigInt,
        device -> Text,
        created_at -> BigInt,
        last_active_at -> BigInt,
        expires_at -> BigInt,
        revoked_at -> Nullable<BigInt>,
        begun_by -> Text,
        address -> Nullable<Text>,
    }
}

diesel::table! {
    refresh_tokens (id) {
        id -> BigInt,
        token_hash -> Binary,
        session_id -> BigInt,
        created_at -> BigInt,
        expires_at -> BigInt,
        used_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    transfers (id) {
        id -> BigInt,
        token_hash -> Binary,
        user_id -> BigInt,
        created_by -> BigInt,
        kind -> Text,
        created_at -> BigInt,
        expires_at -> BigInt,
        used_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    invites (id) {
        id -> BigInt,
        code -> Text,
        role -> Text,
        created_by -> BigInt,
        created_at -> BigInt,
        expires_at -> Nullable<BigInt>,
        max_uses -> Nullable<BigInt>,
        uses -> BigInt,
        revoked_at -> Nullable<BigInt>,
        last_used_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    invite_rooms (invite_id, room_id) { invite_id -> BigInt, room_id -> BigInt, }
}

diesel::table! {
    bans (id) {
        id -> BigInt,
        user_id -> BigInt,
        banned_by -> BigInt,
        reason -> Text,
        created_at -> BigInt,
        lifted_at -> Nullable<BigInt>,
        lifted_by -> Nullable<BigInt>,
        status_before -> Text,
    }
}

diesel::table! {
    banned_addresses (ban_id, address) { ban_id -> BigInt, address -> Text, }
}

diesel::table! {
    audit (id) {
        id -> BigInt,
        at -> BigInt,
        actor_id -> Nullable<BigInt>,
        via -> Text,
        credential_id -> Nullable<BigInt>,
        action -> Text,
        target_kind -> Nullable<Text>,
        target_id -> Nullable<BigInt>,
        room_id -> Nullable<BigInt>,
        address -> Nullable<Text>,
        detail -> Text,
    }
}

diesel::table! {
    bot_keys (id) {
        id -> BigInt,
        user_id -> BigInt,
        key_hash -> Binary,
        created_at -> BigInt,
        expires_at -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
        created_by -> Nullable<BigInt>,
    }
}

diesel::table! {
    rooms (id) {
        id -> BigInt,
        kind -> Text,
        name -> Nullable<Text>,
        direct_key -> Nullable<Text>,
        owner_id -> Nullable<BigInt>,
        created_by -> Nullable<BigInt>,
        created_at -> BigInt,
        last_seq -> BigInt,
        deleted_at -> Nullable<BigInt>,
        deleted_by -> Nullable<BigInt>,
    }
}

diesel::table! {
    memberships (room_id, user_id) {
        room_id -> BigInt,
        user_id -> BigInt,
        added_by -> Nullable<BigInt>,
        created_at -> BigInt,
    }
}

diesel::table! {
    events (id) {
        id -> BigInt,
        room_id -> BigInt,
        seq -> BigInt,
        kind -> Text,
        actor_id -> Nullable<BigInt>,
        payload -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    log_head (id) { id -> BigInt, epoch -> Binary, last_id -> BigInt, }
}

diesel::table! {
    messages (id) {
        id -> BigInt,
        room_id -> BigInt,
        seq -> BigInt,
        author_id -> BigInt,
        client_message_id -> Binary,
        digest -> Binary,
        body -> Text,
        version -> Integer,
        created_at -> BigInt,
        edited_at -> Nullable<BigInt>,
        edited_by -> Nullable<BigInt>,
        edit_event_id -> Nullable<BigInt>,
        deleted_at -> Nullable<BigInt>,
        deleted_by -> Nullable<BigInt>,
    }
}

diesel::table! {
    read_marks (user_id, room_id) { user_id -> BigInt, room_id -> BigInt, seq -> BigInt, updated_at -> BigInt, }
}

diesel::table! {
    idempotency_keys (user_id, key_hash) {
        user_id -> BigInt,
        key_hash -> Binary,
        route -> Text,
        request_digest -> Binary,
        response -> Nullable<Text>,
        created_at -> BigInt,
        expires_at -> BigInt,
        forget_at -> BigInt,
    }
}

diesel::table! {
    webhooks (user_id) { user_id -> BigInt, url -> Text, updated_at -> BigInt, }
}

diesel::table! {
    outbox (id) {
        id -> BigInt,
        event_id -> BigInt,
        topic -> Text,
        payload -> Text,
        attempts -> Integer,
        next_attempt_at -> BigInt,
        lease_until -> Nullable<BigInt>,
        created_at -> BigInt,
        dead_at -> Nullable<BigInt>,
        last_error -> Nullable<Text>,
        answer -> Nullable<Text>,
    }
}

diesel::table! {
    assistants (user_id) {
        user_id -> BigInt,
        base_url -> Text,
        api_key -> Nullable<Text>,
        model -> Text,
        instructions -> Text,
        context_tokens -> BigInt,
        output_tokens -> BigInt,
        prompt_price -> BigInt,
        completion_price -> BigInt,
        temperature_milli -> Nullable<BigInt>,
        tools -> Text,
        summarises -> Bool,
        enabled -> Bool,
        paused_until -> Nullable<BigInt>,
        updated_at -> BigInt,
        base_url_changed_at -> BigInt,
    }
}

diesel::table! {
    runs (id) {
        id -> BigInt,
        kind -> Text,
        room_id -> BigInt,
        assistant_id -> BigInt,
        asker_id -> Nullable<BigInt>,
        prompt_id -> BigInt,
        start_id -> Nullable<BigInt>,
        message_id -> Nullable<BigInt>,
        regenerates -> Nullable<BigInt>,
        state -> Text,
        stop_asked_at -> Nullable<BigInt>,
        stop_asked_by -> Nullable<BigInt>,
        attempts -> BigInt,
        holder -> Nullable<Binary>,
        lease_until -> Nullable<BigInt>,
        next_attempt_at -> BigInt,
        settings_version -> BigInt,
        settings -> Text,
        partial -> Text,
        reason -> Nullable<Text>,
        truncated -> Bool,
        model -> Text,
        prompt_tokens -> BigInt,
        completion_tokens -> BigInt,
        usage_estimated -> Bool,
        cost_micros -> BigInt,
        reserved_tokens -> BigInt,
        reserved_micros -> BigInt,
        created_at -> BigInt,
        started_at -> Nullable<BigInt>,
        first_token_at -> Nullable<BigInt>,
        ended_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    run_terms (run_id) {
        run_id -> BigInt,
        requests -> BigInt,
        prompt_tokens -> BigInt,
        output_tokens -> BigInt,
        prompt_price -> BigInt,
        completion_price -> BigInt,
    }
}

diesel::table! {
    summaries (id) {
        id -> BigInt,
        room_id -> BigInt,
        start_id -> BigInt,
        end_id -> BigInt,
        run_id -> BigInt,
        body -> Text,
        created_at -> BigInt,
        whole -> Bool,
    }
}

diesel::table! {
    budgets (scope, scope_id) {
        scope -> Text,
        scope_id -> BigInt,
        tokens_max -> Nullable<BigInt>,
        micros_max -> Nullable<BigInt>,
        updated_at -> BigInt,
    }
}

diesel::table! {
    spending (scope, scope_id, period) {
        scope -> Text,
        scope_id -> BigInt,
        period -> Text,
        spent_tokens -> BigInt,
        spent_micros -> BigInt,
        reserved_tokens -> BigInt,
        reserved_micros -> BigInt,
    }
}

diesel::table! {
    user_settings (user_id) { user_id -> BigInt, version -> BigInt, body -> Text, updated_at -> BigInt, }
}

diesel::table! {
    action_requests (id) {
        id -> Binary,
        requester_id -> BigInt,
        user_id -> BigInt,
        room_id -> Nullable<BigInt>,
        run_id -> Nullable<BigInt>,
        kind -> Text,
        arguments -> Text,
        state -> Text,
        result -> Nullable<Text>,
        created_at -> BigInt,
        deadline -> BigInt,
        ended_at -> Nullable<BigInt>,
    }
}

diesel::joinable!(assistants -> users (user_id));
diesel::joinable!(webhooks -> users (user_id));
diesel::joinable!(messages -> users (author_id));
diesel::joinable!(messages -> rooms (room_id));
diesel::joinable!(events -> rooms (room_id));
diesel::joinable!(memberships -> users (user_id));
diesel::joinable!(memberships -> rooms (room_id));
diesel::joinable!(bot_keys -> users (user_id));
diesel::joinable!(sessions -> users (user_id));
diesel::joinable!(refresh_tokens -> sessions (session_id));
diesel::joinable!(transfers -> users (user_id));
diesel::joinable!(bans -> users (user_id));
diesel::joinable!(banned_addresses -> bans (ban_id));
diesel::joinable!(invite_rooms -> invites (invite_id));
diesel::joinable!(read_marks -> rooms (room_id));
diesel::allow_tables_to_appear_in_same_query!(
    users,
    sessions,
    refresh_tokens,
    transfers,
    invites,
    invite_rooms,
    bans,
    banned_addresses,
    audit,
    bot_keys,
    rooms,
    memberships,
    events,
    messages,
    read_marks,
    webhooks,
    assistants,
    runs,
    run_terms,
    summaries,
    action_requests,
);
diesel::allow_tables_to_appear_in_same_query!(log_head, webhooks);
diesel::allow_tables_to_appear_in_same_query!(log_head, assistants);
