"""The whole verdict beside its short form, and what moderators decided."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("report", sa.JSON))
    op.add_column("media", sa.Column("report", sa.JSON))
    op.create_index(
        "ix_media_verdict_created", "media", ["verdict", "created_at", "id"]
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("media_id", sa.String(64), nullable=False),
        sa.Column("upload_id", sa.String(64), nullable=False),
        sa.Column("moderator", sa.String(255), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_decisions_media_id", "decisions", ["media_id"])


def downgrade() -> None:
    op.drop_table("decisions")
    op.drop_index("ix_media_verdict_created", "media")
    op.drop_column("media", "report")
    op.drop_column("uploads", "report")
