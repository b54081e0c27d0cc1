"""voltaloop schema"""

import json

import typer


def schema() -> None:
    """Print the JSON schema of the campaign file, for editors that complete and check YAML."""
    from voltaloop.campaigns import CampaignFile

    typer.echo(json.dumps(CampaignFile.model_json_schema(), indent=2))
