"""The schema of 0.1.0"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


APPEND_ONLY = ("upload_history", "decisions")


def upgrade() -> None:
    op.create_table(
        "bank_checkpoints",
        sa.Column("bank", sa.Text(), nullable=False),
        sa.Column("next_start", sa.BigInteger(), nullable=False),
        sa.Column("cursor_start", sa.BigInteger(), nullable=True),
        sa.Column("cursor_token", sa.Text(), nullable=True),
        sa.Column("cursor_issued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cursor_next_start", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("generation", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("full_sync", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("drained_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("records_seen", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("bank", name=op.f("pk_bank_checkpoints")),
    )
    op.create_table(
        "bank_entries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("bank", sa.Text(), nullable=False),
        sa.Column("signal_type", sa.Text(), nullable=False),
        sa.Column("signal", sa.LargeBinary(), nullable=False),
        sa.Column("signal_key", sa.LargeBinary(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("raw_status", sa.Text(), server_default="", nullable=False),
        sa.Column("quality", sa.SmallInteger(), server_default=sa.text("100"), nullable=False),
        sa.Column(
            "case_numbers",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "regions",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "feedback",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column("last_modified", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("generation", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "first_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("quality BETWEEN 0 AND 100", name=op.f("ck_bank_entries_quality")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_entries")),
        sa.UniqueConstraint("bank", "signal_type", "signal_key", name="uq_bank_entries_signal"),
    )
    op.create_index("ix_bank_entries_live_signal_type", "bank_entries", ["live", "signal_type"], unique=False)
    op.create_index("ix_bank_entries_updated_at", "bank_entries", ["updated_at"], unique=False)
    op.create_table(
        "bank_rejects",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("bank", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("record_key", sa.LargeBinary(), nullable=False),
        sa.Column("record", sa.Text(), nullable=True),
        sa.Column("seen", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_rejects")),
        sa.UniqueConstraint("bank", "reason", "record_key", name="uq_bank_rejects_record"),
    )
    op.create_table(
        "contents",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=True),
        sa.Column("md5", sa.LargeBinary(), nullable=True),
        sa.Column("size", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("fingerprint", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contents")),
        sa.UniqueConstraint("sha256", name=op.f("uq_contents_sha256")),
    )
    op.create_table(
        "entry_demotions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("bank", sa.Text(), nullable=False),
        sa.Column("uploaders", sa.Integer(), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lifted_by", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entry_demotions")),
    )
    op.create_index(
        "uq_entry_demotions_active",
        "entry_demotions",
        ["entry_id"],
        unique=True,
        postgresql_where=sa.text("lifted_at IS NULL"),
    )
    op.create_table(
        "entry_hits",
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("uploader", sa.LargeBinary(), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("entry_id", "uploader", name=op.f("pk_entry_hits")),
    )
    op.create_index("ix_entry_hits_entry_id", "entry_hits", ["entry_id", "at"], unique=False)
    op.create_table(
        "heartbeats",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("index_epoch", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("service", "host", "pid", name=op.f("pk_heartbeats")),
    )
    op.create_table(
        "inbox_rejects",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("seen", sa.Integer(), server_default="1", nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox_rejects")),
        sa.UniqueConstraint("digest", name=op.f("uq_inbox_rejects_digest")),
    )
    op.create_table(
        "sweeps",
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key_marker", sa.Text(), server_default="", nullable=False),
        sa.Column("version_marker", sa.Text(), server_default="", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("listed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("found", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("bucket", "kind", name=op.f("pk_sweeps")),
    )
    op.create_table(
        "upload_history",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("upload_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("from_state", sa.Text(), nullable=False),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("index_epoch", sa.BigInteger(), nullable=True),
        sa.Column("policy_revision", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upload_history")),
    )
    op.create_index("ix_upload_history_upload_id", "upload_history", ["upload_id", "id"], unique=False)
    op.create_table(
        "webhook_outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("message_id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("fast", sa.Boolean(), server_default="false", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "next_attempt_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dead", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_outbox")),
        sa.UniqueConstraint("message_id", name=op.f("uq_webhook_outbox_message_id")),
    )
    op.create_index(
        "ix_webhook_outbox_due",
        "webhook_outbox",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("delivered_at IS NULL AND NOT dead"),
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("content_id", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["content_id"], ["contents.id"], name=op.f("fk_decisions_content_id_contents")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.UniqueConstraint("request_id", name=op.f("uq_decisions_request_id")),
    )
    op.create_index("ix_decisions_content_id", "decisions", ["content_id", "id"], unique=False)
    op.create_table(
        "entry_origins",
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("origin_entry_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["entry_id"],
            ["bank_entries.id"],
            name=op.f("fk_entry_origins_entry_id_bank_entries"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["origin_entry_id"],
            ["bank_entries.id"],
            name=op.f("fk_entry_origins_origin_entry_id_bank_entries"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("entry_id", "source", "origin_entry_id", name=op.f("pk_entry_origins")),
    )
    op.create_index(
        op.f("ix_entry_origins_origin_entry_id"), "entry_origins", ["origin_entry_id"], unique=False
    )
    op.create_table(
        "feedback_outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("bank", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "next_attempt_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dropped", sa.Text(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "value IN ('PendingReview', 'Blocked', 'NotBlocked')", name=op.f("ck_feedback_outbox_value")
        ),
        sa.ForeignKeyConstraint(
            ["entry_id"],
            ["bank_entries.id"],
            name=op.f("fk_feedback_outbox_entry_id_bank_entries"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback_outbox")),
        sa.UniqueConstraint("idempotency_key", name="uq_feedback_outbox_key"),
    )
    op.create_index(
        "ix_feedback_outbox_due",
        "feedback_outbox",
        ["bank", "next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("sent_at IS NULL AND dropped IS NULL"),
    )
    op.create_index(op.f("ix_feedback_outbox_entry_id"), "feedback_outbox", ["entry_id"], unique=False)
    op.create_table(
        "own_supports",
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("standing", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["entry_id"],
            ["bank_entries.id"],
            name=op.f("fk_own_supports_entry_id_bank_entries"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("entry_id", "source", name=op.f("pk_own_supports")),
    )
    op.create_table(
        "uploads",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("version_id", sa.Text(), server_default="", nullable=False),
        sa.Column("etag", sa.Text(), server_default="", nullable=False),
        sa.Column("size", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column(
            "last_modified", sa.DateTime(timezone=True), server_default=sa.text("'epoch'"), nullable=False
        ),
        sa.Column("sequencer", sa.Text(), server_default="", nullable=False),
        sa.Column("source", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("lane", sa.Text(), server_default="image", nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("faults", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "next_attempt_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("announced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("content_id", sa.BigInteger(), nullable=True),
        sa.Column("index_epoch", sa.BigInteger(), nullable=True),
        sa.Column("policy_revision", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "first_seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "last_seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "state_since",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("access_wanted", sa.Text(), server_default="served", nullable=False),
        sa.Column("access_applied", sa.Text(), server_default="", nullable=False),
        sa.Column("access_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("access_attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("access_intent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("access_error", sa.Text(), server_default="", nullable=False),
        sa.Column("receipt", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("purge_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tagged", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_uploads_attempts")),
        sa.ForeignKeyConstraint(["content_id"], ["contents.id"], name=op.f("fk_uploads_content_id_contents")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    op.create_index("ix_uploads_content_id", "uploads", ["content_id"], unique=False)
    op.create_index(
        "ix_uploads_due",
        "uploads",
        ["lane", "priority", "next_attempt_at"],
        unique=False,
        postgresql_where=sa.text(
            "state IN ('pending', 'scanning') OR access_due_at IS NOT NULL OR purge_at IS NOT NULL"
        ),
    )
    op.create_index("ix_uploads_state", "uploads", ["state"], unique=False)
    op.create_index(
        "uq_uploads_unversioned",
        "uploads",
        ["bucket", "key", "etag", "size", "last_modified"],
        unique=True,
        postgresql_where=sa.text("version_id = ''"),
    )
    op.create_index(
        "uq_uploads_version",
        "uploads",
        ["bucket", "key", "version_id"],
        unique=True,
        postgresql_where=sa.text("version_id <> ''"),
    )
    op.create_table(
        "matches",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("content_id", sa.BigInteger(), nullable=False),
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("bank", sa.Text(), nullable=False),
        sa.Column("signal_type", sa.Text(), nullable=False),
        sa.Column("distance", sa.SmallInteger(), nullable=False),
        sa.Column("view", sa.Text(), server_default="", nullable=False),
        sa.Column("region", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("frame_time", sa.Double(), nullable=True),
        sa.Column("quality", sa.SmallInteger(), server_default="100", nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("index_epoch", sa.BigInteger(), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("dismissed_by", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["content_id"], ["contents.id"], name=op.f("fk_matches_content_id_contents")),
        sa.ForeignKeyConstraint(
            ["dismissed_by"], ["decisions.id"], name=op.f("fk_matches_dismissed_by_decisions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_matches")),
        sa.UniqueConstraint("content_id", "entry_id", name=op.f("uq_matches_content_id")),
    )
    op.create_index("ix_matches_entry_id", "matches", ["entry_id"], unique=False)
    op.create_table(
        "reviews",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("content_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column(
            "opened_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("verdict", sa.Text(), server_default="", nullable=False),
        sa.Column("decision_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["content_id"], ["contents.id"], name=op.f("fk_reviews_content_id_contents")),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decisions.id"], name=op.f("fk_reviews_decision_id_decisions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
        sa.UniqueConstraint("content_id", name=op.f("uq_reviews_content_id")),
    )
    op.create_index(
        "ix_reviews_open",
        "reviews",
        ["priority", "opened_at"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
    )

    # What was decided and what became of an upload can be added to, never rewritten.
    op.execute(
        """
        CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
        END $$
        """
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_rewriting()"
        )
