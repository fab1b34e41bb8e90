"""Calls of the platform, one of each kind."""

from __future__ import annotations

from typing import Any

from imettk.kaggle.client import Kaggle

JSON = {"Content-Type": "application/json"}
CALLS = {
    "GetDataset": ("datasets", "get_dataset", "ApiGetDatasetRequest"),
    "GetDatasetStatus": ("datasets", "get_dataset_status", "ApiGetDatasetStatusRequest"),
    "CreateDataset": ("datasets", "create_dataset", "ApiCreateDatasetRequest"),
    "CreateDatasetVersion": ("datasets", "create_dataset_version", "ApiCreateDatasetVersionRequest"),
    "StartBlobUpload": ("blobs", "start_blob_upload", "ApiStartBlobUploadRequest"),
    "SaveKernel": ("kernels", "save_kernel", "ApiSaveKernelRequest"),
    "GetKernel": ("kernels", "get_kernel", "ApiGetKernelRequest"),
    "GetKernelSessionStatus": ("kernels", "get_kernel_session_status", "ApiGetKernelSessionStatusRequest"),
    "ListKernelSessionOutput": ("kernels", "list_kernel_session_output", "ApiListKernelSessionOutputRequest"),
    "DeleteKernel": ("kernels", "delete_kernel", "ApiDeleteKernelRequest"),
    "GetAcceleratorQuotaStatistics": (
        "kernels", "get_accelerator_quota_statistics", "ApiGetAcceleratorQuotaStatisticsRequest",
    ),
    "StartSubmissionUpload": ("competitions", "start_submission_upload", "ApiStartSubmissionUploadRequest"),
    "CreateSubmission": ("competitions", "create_submission", "ApiCreateSubmissionRequest"),
    "CreateCodeSubmission": ("competitions", "create_code_submission", "ApiCreateCodeSubmissionRequest"),
    "ListSubmissions": ("competitions", "list_submissions", "ApiListSubmissionsRequest"),
}  # fmt: skip


def send(account: Kaggle, method: str, **options: Any) -> Any:
    """Make a call with a request that names me/x."""
    from importlib import import_module

    service, name, request = CALLS[method]
    module = {"blobs": "blob", "datasets": "dataset", "kernels": "kernels", "competitions": "competition"}[service]
    types = import_module(f"kagglesdk.{service}.types.{module}_api_service")
    asked = getattr(types, request)()
    for names, value in ((("owner_slug", "user_name"), "me"), (("dataset_slug", "kernel_slug", "slug"), "x")):
        for part in names:
            if hasattr(asked, part):
                setattr(asked, part, value)
    return account.ask(service, name, asked, what=f"{method} of me/x", **options)
