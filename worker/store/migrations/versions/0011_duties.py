"""Cases of suspected minors, what the role of the pages may do with them, reasons of looks, keys of a person"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("people", sa.Column("single_keys", sa.Boolean(), server_default="true", nullable=False))
    op.add_column("reveal_addresses", sa.Column("purpose", sa.Text(), server_default="", nullable=False))
    _cases()
    _files()
    _keep()
    _take_over()
    _rights()


def _cases() -> None:
    op.create_table(
        "minor_cases",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("review_id", sa.BigInteger(), nullable=False),
        sa.Column("content_id", sa.BigInteger(), nullable=False),
        sa.Column("decision_id", sa.BigInteger(), nullable=False),
        sa.Column("opened_by", sa.Text(), nullable=False),
        sa.Column("opened_at", TIME, server_default=NOW, nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("preserve_until", TIME, nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("reference", sa.Text(), server_default="", nullable=False),
        sa.Column("reported_by", sa.Text(), nullable=True),
        sa.Column("reported_at", TIME, nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.Column("closed_with", sa.Text(), nullable=True),
        sa.Column("closed_at", TIME, nullable=True),
        sa.CheckConstraint("(reference = '') = (reported_at IS NULL)", name=op.f("ck_minor_cases_reported")),
        sa.CheckConstraint(
            "(state = 'closed') = (closed_by IS NOT NULL AND closed_with IS NOT NULL)",
            name=op.f("ck_minor_cases_closed"),
        ),
        sa.CheckConstraint("closed_by <> closed_with", name=op.f("ck_minor_cases_two_persons")),
        sa.ForeignKeyConstraint(["review_id"], ["reviews.id"], name=op.f("fk_minor_cases_review_id_reviews")),
        sa.ForeignKeyConstraint(
            ["content_id"], ["contents.id"], name=op.f("fk_minor_cases_content_id_contents")
        ),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decisions.id"], name=op.f("fk_minor_cases_decision_id_decisions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_minor_cases")),
    )
    op.create_index(
        "uq_minor_cases_standing",
        "minor_cases",
        ["review_id"],
        unique=True,
        postgresql_where=sa.text("state <> 'closed'"),
    )
    op.create_index("ix_minor_cases_content_id", "minor_cases", ["content_id"])


def _files() -> None:
    op.create_table(
        "minor_files",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("case_id", sa.BigInteger(), nullable=False),
        sa.Column("upload_id", sa.BigInteger(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("version_id", sa.Text(), server_default="", nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("uploaded_at", TIME, nullable=False),
        sa.Column("noted_at", TIME, server_default=NOW, nullable=False),
        sa.Column("copy_bucket", sa.Text(), server_default="", nullable=False),
        sa.Column("copy_key", sa.Text(), server_default="", nullable=False),
        sa.Column("copy_version_id", sa.Text(), server_default="", nullable=False),
        sa.Column("copied_at", TIME, nullable=True),
        sa.Column("next_attempt_at", TIME, server_default=NOW, nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"], ["minor_cases.id"], name=op.f("fk_minor_files_case_id_minor_cases")
        ),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.id"], name=op.f("fk_minor_files_upload_id_uploads")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_minor_files")),
        sa.UniqueConstraint("case_id", "upload_id", name=op.f("uq_minor_files_case_id")),
    )
    op.create_index(
        "ix_minor_files_due",
        "minor_files",
        ["next_attempt_at"],
        postgresql_where=sa.text("copied_at IS NULL"),
    )


def _keep() -> None:
    """What was written stays as it is, and until its date it stays at all; for the owner too."""
    op.execute(
        """
        CREATE FUNCTION keep_minor_cases() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            moving CONSTANT text[] := ARRAY['state', 'preserve_until', 'reference', 'reported_by', 'reported_at',
                                            'closed_by', 'closed_with', 'closed_at'];
        BEGIN
            IF TG_OP = 'DELETE' THEN
                IF OLD.preserve_until <= clock_timestamp() THEN
                    RETURN OLD;
                END IF;
                RAISE EXCEPTION 'a case of a suspected minor is kept until its date';
            END IF;
            IF TG_OP = 'UPDATE' AND OLD.state <> 'closed'
               AND (NEW.state = OLD.state OR (OLD.state, NEW.state) IN
                    (('open', 'reported'), ('open', 'closed'), ('reported', 'closed')))
               AND NEW.preserve_until >= OLD.preserve_until
               AND (OLD.reference = '' OR (NEW.reference, NEW.reported_by, NEW.reported_at)
                    IS NOT DISTINCT FROM (OLD.reference, OLD.reported_by, OLD.reported_at))
               AND (to_jsonb(NEW) - moving) = (to_jsonb(OLD) - moving) THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'a case of a suspected minor goes from open to reported to closed and is else not changed';
        END $$
        """
    )
    op.execute(
        """
        CREATE FUNCTION keep_minor_files() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            moving CONSTANT text[] := ARRAY['copy_bucket', 'copy_key', 'copy_version_id', 'copied_at',
                                            'next_attempt_at', 'attempts', 'error'];
        BEGIN
            IF TG_OP = 'DELETE' THEN
                IF (SELECT preserve_until FROM minor_cases WHERE id = OLD.case_id) <= clock_timestamp() THEN
                    RETURN OLD;
                END IF;
                RAISE EXCEPTION 'a file of a suspected minor is kept until its date';
            END IF;
            IF TG_OP = 'UPDATE' AND OLD.copied_at IS NULL
               AND (to_jsonb(NEW) - moving) = (to_jsonb(OLD) - moving) THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'a file of a suspected minor is not changed, but for where its copy lies, once';
        END $$
        """
    )
    for table in ("minor_cases", "minor_files"):
        op.execute(
            f"CREATE TRIGGER kept BEFORE UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION keep_{table}()"
        )
        op.execute(
            f"CREATE TRIGGER kept_whole BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION keep_{table}()"
        )


def _take_over() -> None:
    """What was decided before there were cases gets one."""
    op.execute(
        """
        INSERT INTO minor_cases (review_id, content_id, decision_id, opened_by, opened_at, facts, preserve_until)
        SELECT reviews.id, reviews.content_id, decisions.id, decisions.actor, decisions.at,
               jsonb_build_object('kind', contents.kind, 'size', contents.size, 'cause', reviews.cause,
                                  'found', '[]'::jsonb),
               coalesce(reviews.preserve_until, decisions.at + interval '365 days')
        FROM reviews JOIN decisions ON decisions.id = reviews.decision_id
        JOIN contents ON contents.id = reviews.content_id
        WHERE reviews.verdict = 'suspected_minor' AND reviews.state = 'decided'
        """
    )
    op.execute(
        """
        INSERT INTO minor_files (case_id, upload_id, bucket, key, version_id, size, uploaded_at)
        SELECT minor_cases.id, uploads.id, bucket, key, version_id, size, coalesce(last_modified, first_seen_at)
        FROM minor_cases JOIN uploads ON uploads.content_id = minor_cases.content_id
        """
    )


def _rights() -> None:
    """The pages' role reads and adds, moves a case on by these columns, and changes nothing that is kept."""
    op.execute("REVOKE TRUNCATE ON minor_cases, minor_files FROM PUBLIC, CURRENT_USER")
    op.execute(
        """
        DO $$
        BEGIN
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'hashwarden_review') THEN
                REVOKE ALL ON minor_cases, minor_files, views FROM hashwarden_review;
                GRANT SELECT, INSERT ON minor_cases, minor_files, views TO hashwarden_review;
                GRANT UPDATE (state, preserve_until, reference, reported_by, reported_at,
                              closed_by, closed_with, closed_at) ON minor_cases TO hashwarden_review;
                GRANT UPDATE (seconds) ON views TO hashwarden_review;
                REVOKE DELETE ON uploads, contents, matches, reviews, people, proposals, appeals,
                                 review_opinions, decision_effects FROM hashwarden_review;
            END IF;
        END $$
        """
    )
