// Logs in with the code in the fragment of the address, which `roost login` prints. The form works without this script.
const [code, form] = [location.hash.slice(1), document.getElementById("login")];
if (code) history.replaceState(null, "", location.pathname + location.search);
if (code && form) { form.elements.secret.value = decodeURIComponent(code); form.requestSubmit(); }
