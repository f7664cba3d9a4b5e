// The form that answers an approval. It is outside of what is live, so that nothing disturbs who fills it in.

import { $, onEachPart, remember, remembered } from "./dom.js";
import { beginForm } from "./forms.js";
import { lookAnew } from "./live.js";
import { toast } from "./notes.js";

const form = $("#answer");
if (form) {
  const by = $("#by"); // none where a key signs
  if (by) by.value ||= remembered("asked-by") || "";
  onEachPart(() => { form.hidden = !$("#about [data-open]"); }); // somebody else may have answered
  beginForm(form, {
    sent: ({ outcome }, request) => {
      if (by) remember("asked-by", by.value);
      toast("good", `Answered: ${outcome}. The workflow goes on.`, request);
      lookAnew();
    },
    away: "The engine does not answer. The same answer again changes nothing.",
  });
}
