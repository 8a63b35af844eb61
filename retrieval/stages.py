"""The stages of this room, as dvc.yaml calls them."""

from contracts import paths
from contracts.files import write_json
from contracts.params import Params


def audit(params: Params) -> None:
    """Judge how volatile each document is; writes reports/audit.json.

    Raises:
        DataError: documents or history cannot be read.
    """
    from retrieval.audit import audit_parts
    from retrieval.pasts import of_project

    verdict = audit_parts(of_project(params), params.audit.stable_months)
    write_json(paths.AUDIT, verdict.model_dump())


def index(params: Params) -> None:
    """Make the live index equal to the documents; writes reports/index.json, read back from the store.

    Raises:
        BusyError, DataError, ModelError, ParamsError, StoreError: as `retrieval.index.reindex`.
    """
    from retrieval.index import published_record, reindex

    reindex(params)
    write_json(paths.INDEX, published_record(params.retrieval).model_dump())
