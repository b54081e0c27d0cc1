"""What a campaign's users see: tables, plots, one self-contained HTML page, status lines."""

from voltaloop.report.answer import Answer, HullPoint, VoltageStep
from voltaloop.report.cards import FigureCard, Section, TableCard, sections
from voltaloop.report.history import (
    AuditRecord,
    CampaignHistory,
    CampaignState,
    ExplorationOutcome,
    ExplorationRecord,
    LabelOrigin,
    LabelRecord,
    RefusalRecord,
    TaskRecord,
    TrainingRound,
)
from voltaloop.report.html import render_report, write_report
from voltaloop.report.operations import (
    CostRow,
    PoolLine,
    cost_rows,
    pool_lines,
    running_tasks,
    total_cost,
)
from voltaloop.report.quality import (
    Coverage,
    audit_coverage,
    audit_errors,
    clopper_pearson,
    running_coverage,
)
from voltaloop.report.summary import AnswerTable, answer_table, status_lines
from voltaloop.report.tables import (
    Headline,
    Verdict,
    content_rows,
    headline,
    headline_sentence,
    origin_rows,
    outcome_rows,
    verdicts,
)

__all__ = [
    "Answer",
    "AnswerTable",
    "AuditRecord",
    "CampaignHistory",
    "CampaignState",
    "CostRow",
    "Coverage",
    "ExplorationOutcome",
    "ExplorationRecord",
    "FigureCard",
    "Headline",
    "HullPoint",
    "LabelOrigin",
    "LabelRecord",
    "PoolLine",
    "RefusalRecord",
    "Section",
    "TableCard",
    "TaskRecord",
    "TrainingRound",
    "Verdict",
    "VoltageStep",
    "answer_table",
    "audit_coverage",
    "audit_errors",
    "clopper_pearson",
    "content_rows",
    "cost_rows",
    "headline",
    "headline_sentence",
    "origin_rows",
    "outcome_rows",
    "pool_lines",
    "render_report",
    "running_coverage",
    "running_tasks",
    "sections",
    "status_lines",
    "total_cost",
    "verdicts",
    "write_report",
]
