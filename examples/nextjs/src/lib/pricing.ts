/** What a question costs, in credits. */
export const QUESTION = 5;
