"""Exported documents: what an app needs of AWS, and how it runs, as files for other tools.

Run by itself, it shows a little of each. In a terminal, the whole of one:

    megaflow export 24_export.py --format kubernetes --region eu-west-1 --account 123456789012
"""

from typing import Any

from megaflow import App
from megaflow.provision import Queue, Topic

shop = Topic("shop", json_only=True)
app = App(queue=Queue("orders", subscribe=[shop]), topic=shop, retry_on=ConnectionError, shutdown_timeout=25)


@app.on_data({"kind": "order"})
def ship(order: dict[str, Any]) -> None:
    print(f"shipping {order['id']}")


if __name__ == "__main__":
    import json
    import subprocess
    import sys

    import yaml

    def export(*options: str) -> str:
        print("$ megaflow export 24_export.py", *options, flush=True)
        place = ("--region", "eu-west-1", "--account", "123456789012")
        command = [sys.executable, "-m", "megaflow", "export", __file__, *options, *place]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    template = yaml.safe_load(export("--format", "cloudformation"))
    for name, resource in template["Resources"].items():
        print(f"  {name}: {resource['Type']}")
    policy = json.loads(export("--format", "iam", "--role", "consumer"))
    for statement in policy["Statement"]:
        print(f"  {statement['Sid']}: {', '.join(statement['Action'])}")
    for manifest in yaml.safe_load_all(export("--format", "kubernetes")):
        seconds = manifest.get("spec", {}).get("template", {}).get("spec", {}).get("terminationGracePeriodSeconds")
        killed = f": killed {seconds} seconds after SIGTERM" if seconds else ""
        print(f"  {manifest['kind']} {manifest['metadata']['name']}{killed}")
