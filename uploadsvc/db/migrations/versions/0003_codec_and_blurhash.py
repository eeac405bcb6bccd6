"""How a film or a sound is encoded, and its picture in a few characters."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("media", sa.Column("codec", sa.String(32)))
    op.add_column("media", sa.Column("blurhash", sa.String(32)))


def downgrade() -> None:
    op.drop_column("media", "blurhash")
    op.drop_column("media", "codec")
