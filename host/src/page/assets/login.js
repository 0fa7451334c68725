// Logs in with the code in the fragment of the address, which `roost login` prints. The form works without this script.
const [code, form] = [location.hash.slice(1), document.getElementById("login")];
// Another fragment is no code: a link on any site could make wrong tries with it.
if (/^[0-9A-HJKMNP-TV-Z]{5}-?[0-9A-HJKMNP-TV-Z]{5}$/i.test(code)) {
  history.replaceState(null, "", location.pathname + location.search);
  if (form) { form.elements.secret.value = code; form.requestSubmit(); }
}
