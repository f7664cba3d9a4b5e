// The form that starts a workflow.

import { $, address } from "./dom.js";
import { beginForm } from "./forms.js";

const form = $("#start");
if (form) {
  beginForm(form, {
    sent: ({ id }) => location.assign(address(`/admin/workflows/${id}`)),
    away: "The engine does not answer. With an idempotency key it can be started once more without being two.",
  });
}
