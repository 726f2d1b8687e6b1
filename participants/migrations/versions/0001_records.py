"""Write-once records and the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "record",
        sa.Column("scope", sa.String(255), primary_key=True),
        sa.Column("slot", sa.String(255), primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "outgoing",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("recipient", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("outgoing")
    op.drop_table("record")
